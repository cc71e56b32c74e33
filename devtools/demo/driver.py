"""The demonstration from the first uploaded picture to the report."""

from __future__ import annotations

import io
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .. import workflows
from ..client import Client, Run
from ..console import DevError, Step, say
from ..server import Server
from . import concept, scoring
from .progress import TrainingProgress
from .sheet import Column, draw_sheet

CHECKPOINT = "microworld.safetensors"
NAME = concept.CONCEPT.name
STEPS = 400
PICTURES = 16
SHOWN = 6
SEED = 1


@dataclass
class Trained:
    """What the training node told; ``seconds`` are those of its whole workflow."""

    steps: int
    seconds: float
    rate: float


class Demonstration:
    """One run against one server; the results go to ``out``."""

    def __init__(self, server: Server, out: Path) -> None:
        self.server = server
        self.client = Client(server.address)
        self.out = out
        self.prompts = concept.Prompts()

    def run(self) -> dict:
        """Train, sample and score; the report that is also written to report.json."""
        training = concept.training_pictures()
        uploaded = self._upload(training)
        word = self.prompts.initializer_text
        before = self._sample("with the initializer text", self.prompts.template, word)
        oracle = self._sample("with the oracle phrase", self.prompts.template, self.prompts.oracle)
        trained = self._train(uploaded)
        reference = f"embedding:{NAME}"
        after = self._sample("with the learnt word", self.prompts.template, reference)
        moved = self._sample("on another background", self.prompts.new_template, reference)
        report = {
            "file": f"{NAME}.safetensors",
            "concept": self.prompts.oracle,
            "initializer_text": word,
            "score": {
                "initializer": scoring.reconstruction(before),
                "learnt": scoring.reconstruction(after),
                "oracle": scoring.reconstruction(oracle),
            },
            "share_of_oracle": round(
                scoring.reconstruction(after) / max(scoring.reconstruction(oracle), 1e-9), 3
            ),
            "another_background": {
                "background": concept.NEW_BACKGROUND,
                "concept_kept": scoring.reconstruction(moved),
                "background_right": scoring.share(moved, "background", concept.NEW_BACKGROUND),
            },
            "attributes": {
                "initializer": scoring.attributes(before),
                "learnt": scoring.attributes(after),
                "oracle": scoring.attributes(oracle),
            },
            "pictures_a_prompt": PICTURES,
            "steps": trained.steps,
            "training_seconds": round(trained.seconds, 1),
            "steps_per_second": round(trained.rate, 2),
        }
        (self.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        self._collect()
        columns = [
            Column("Training pictures", f"six pictures of a {self.prompts.oracle}", training),
            Column("Before", self._quoted(self.prompts.template, word), before),
            Column("After", self._quoted(self.prompts.template, reference), after),
            Column("Elsewhere", self._quoted(self.prompts.new_template, reference), moved),
        ]
        for column in columns:
            del column.pictures[SHOWN:]
        sheet = draw_sheet("A word learnt from six pictures", columns)
        sheet.save(self.out / "before_and_after.png")
        return report

    def _upload(self, pictures: list[Image.Image]) -> list[str]:
        folder = self.out / "training_pictures"
        folder.mkdir()
        names = []
        for number, picture in enumerate(pictures, 1):
            name = f"{NAME}_{number}.png"
            picture.save(folder / name)
            names.append(self.client.upload(name, concept.to_png(picture), "demo"))
        return names

    def _sample(self, what: str, template: str, word: str) -> list[Image.Image]:
        workflow = workflows.sampling(
            CHECKPOINT, template.format(word), seed=SEED, count=PICTURES, prefix="demo"
        )
        with Step(f"Pictures {what}"):
            run = self._finished(self.client.run(workflow))
        images = run.outputs[workflows.SAVED]["images"]
        return [Image.open(io.BytesIO(self.client.picture(image))) for image in images]

    def _train(self, pictures: list[str]) -> Trained:
        workflow = workflows.training(
            CHECKPOINT,
            pictures,
            **{
                **self.client.defaults("TI_TrainEmbedding"),
                "name": NAME,
                "initializer_text": self.prompts.initializer_text,
                "steps": STEPS,
                "seed": SEED,
            },
        )
        say(f"Training embedding:{NAME} ...")
        progress = TrainingProgress(workflows.TRAINER)
        began = time.monotonic()
        run = self._finished(self.client.run(workflow, watch=progress, timeout=3600))
        progress.finish()
        seconds = time.monotonic() - began
        told = run.outputs[workflows.TRAINER]
        trained = Trained(told["steps"][0], seconds, told["steps_per_second"][0])
        say(f"Training: done in {seconds:.0f} s, {trained.steps} steps, {trained.rate:.1f} it/s")
        return trained

    def _finished(self, run: Run) -> Run:
        if not run.succeeded:
            raise DevError(f"ComfyUI could not finish the workflow: {run.error or run.ending}")
        return run

    def _collect(self) -> None:
        for file in self.server.base.embeddings.glob(f"{NAME}*"):
            shutil.copy2(file, self.out / file.name)
        for file in sorted(self.server.base.output.glob("demo_*.png")):
            (self.out / "pictures").mkdir(exist_ok=True)
            shutil.copy2(file, self.out / "pictures" / file.name)

    @staticmethod
    def _quoted(template: str, word: str) -> str:
        return f"“{template.format(word)}”"
