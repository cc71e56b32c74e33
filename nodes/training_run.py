"""One training run from a node: check everything, learn, save, show."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ..embeddings_io import metadata
from ..embeddings_io.embedding import Embedding
from ..embeddings_io.saving import save
from ..embeddings_io.thumbnails import thumbnail
from ..host.borrow import Lent, borrow
from ..host.denoiser import ModelDenoiser
from ..host.families import SD1
from ..host.latents import cache_latents
from ..host.progress import Interrupted, NodeProgress
from ..host.provenance import base_model_hash
from ..host.shortage import is_out_of_memory
from ..host.text_encoder import ClipTextEncoder
from ..training.dataset import CachedPicture
from ..training.events import (
    Finished,
    Previewed,
    RolledBack,
    Snapshotted,
    SteppedDown,
    Vectors,
)
from ..training.history import History
from ..training.pictures import Picture
from ..training.start import Start, begin
from ..training.trainer import Trainer
from .run_files import RunFiles
from .training_check import Checked, check, initializer_of
from .training_previews import FINAL_PREVIEWS, PreviewMaker, sheet
from .training_report import report
from .training_request import TrainingRequest, TrainingResult

__all__ = ["TrainingRequest", "TrainingResult", "TrainingRun"]

log = logging.getLogger(__name__)

ENDED_EARLY = {
    "diverged": "The run diverged and was ended at step {0.step}: the probe bank's loss stayed "
    "above the initializer text's. Step {0.best_step}, the best before, was kept; lower "
    "learning_rate.",
    "no numbers": "The loss was no number again and again, so the run was ended at step {0.step}; "
    "step {0.best_step}, the best before, was kept. Lower learning_rate or load the model in a "
    "higher precision.",
}


@dataclasses.dataclass(frozen=True)
class Learnt:
    """A word that was learnt and saved, and what learnt it."""

    embedding: Embedding
    path: Path
    trainer: Trainer
    finished: Finished
    example: CachedPicture


class TrainingRun:
    """Carries out a :class:`TrainingRequest`.

    Everything a person could have got wrong is found before any training; nothing is left on
    the disk then. After Cancel the best vectors so far are saved and Interrupted goes on.
    """

    def __init__(self, request: TrainingRequest) -> None:
        self.request = request
        self.family = SD1
        self.recipe = request.recipe
        self.last_preview: torch.Tensor | None = None
        self.size = (0, 0)
        self.shown_rows = slice(None)
        self.companions: Sequence[TrainingRun] = ()
        self.initializer_text = request.initializer_text
        self.notices = list(request.notices)
        self.history = History()
        self.files: RunFiles | None = None

    def execute(self) -> TrainingResult:
        """Check, learn, save and show."""
        request = self.request
        pictures = self.take(check(request))
        cached = cache_latents(request.model, request.vae, pictures)
        progress = NodeProgress(self.recipe.steps, request.node_id)
        with self.borrowed(cached) as lent:
            learnt = self.learn(lent, cached, progress)
        return self.result(learnt, progress, pictures[0])

    def take(self, checked: Checked) -> list[Picture]:
        """Remember what the check found out; gives the pictures."""
        self.family = checked.family
        first = checked.pictures[0].pixels
        self.size = (int(first.shape[1]), int(first.shape[0]))
        for sentence in checked.notices:
            self._notice(sentence)
        return checked.pictures

    @contextlib.contextmanager
    def borrowed(self, cached: Sequence[CachedPicture]) -> Iterator[Lent]:
        """The models, lent for training with these pictures."""
        request = self.request
        area = max(picture.mean[0].numel() for picture in cached)
        batch_size = self.recipe.batch_size
        with borrow(request.model, request.clip, batch_size=batch_size, latent_area=area) as lent:
            yield lent

    def learn(self, lent: Lent, cached: Sequence[CachedPicture], progress: NodeProgress) -> Learnt:
        """Learn the word and save it; after Cancel the best so far is saved."""
        encoder = ClipTextEncoder(lent.clip, *self.family.encoder_keys)
        denoiser = ModelDenoiser(lent)
        start = self.begin(encoder, denoiser, cached)
        trainer = Trainer(
            self.recipe,
            encoder,
            denoiser,
            start.dataset,
            start.initial,
            good=start.good,
            ran_out=is_out_of_memory,
        )
        example = start.dataset.pictures[0]
        try:
            finished = self.follow(trainer, lent, example, progress)
        except Interrupted:
            self.keep(trainer.best_so_far(), trainer)
            progress.cancelled([self.request.name])
            raise
        return self.saved(finished, trainer, example)

    def begin(
        self, encoder: ClipTextEncoder, denoiser: ModelDenoiser, cached: Sequence[CachedPicture]
    ) -> Start:
        """What the run starts from; the model may be asked."""
        start = begin(self.recipe, encoder, denoiser, cached, initializer_of(self.request))
        self.initializer_text = start.text
        for sentence in start.notices:
            self._notice(sentence)
        return start

    def follow(
        self, trainer: Trainer, lent: Lent, example: CachedPicture, progress: NodeProgress
    ) -> Finished:
        """Train to the end, showing what happens."""
        self.files = RunFiles(self.request, trainer, self._notice)
        shown = PreviewMaker(self.request, self.recipe, example)
        if self.recipe.save_memory:
            trainer.denoiser.save_memory()
        if self.recipe.compile:
            lent.compile(self._notice)
        if self.files.go_on():
            self.history.probes = list(trainer.curve)
        for event in trainer.run():
            self.history.take(event)
            progress.show(event)
            self.files.take(event)
            if isinstance(event, Previewed):
                with lent.pause():
                    self._preview(shown, event, progress)
                progress.skip_time()
            elif isinstance(event, Snapshotted):
                self._snapshot(event, trainer)
            elif isinstance(event, SteppedDown):
                self._notice(f"At step {event.step} {event.how}.")
            elif isinstance(event, RolledBack):
                self._notice(
                    f"The loss was no number at step {event.step}; the run went back and goes on "
                    f"at {event.rate_factor:g} of its learning rate."
                )
            elif isinstance(event, Finished):
                if event.reason in ENDED_EARLY:
                    self._notice(ENDED_EARLY[event.reason].format(event))
                return event
        raise AssertionError("a run always ends with Finished")

    def saved(self, finished: Finished, trainer: Trainer, example: CachedPicture) -> Learnt:
        """Write the embedding."""
        request = self.request
        sources = trainer.dataset.num_sources
        embedding = self._embedding(finished.vectors, finished.step, sources)
        path = save(embedding, request.folder, overwrite=request.overwrite)
        if self.files is not None:
            self.files.done()
        return Learnt(embedding, path, trainer, finished, example)

    def keep(self, vectors: Any, trainer: Trainer) -> None:
        """After Cancel: these vectors, the best so far, go to the disk."""
        embedding = self._embedding(vectors, trainer.steps_done, trainer.dataset.num_sources)
        picture = None if self.last_preview is None else thumbnail(self.last_preview)
        path = save(
            embedding, self.request.folder, overwrite=self.request.overwrite, thumbnail=picture
        )
        log.info("Training cancelled at step %d; the best so far is %s", trainer.steps_done, path)

    def result(self, learnt: Learnt, progress: NodeProgress, first: Picture) -> TrainingResult:
        """Preview pictures, the plot and the figures of a word that was learnt."""
        request, embedding, trainer = self.request, learnt.embedding, learnt.trainer
        maker = PreviewMaker(request, self.recipe, learnt.example)
        shown = maker.final(self.initializer_text, embedding)
        if shown is not None:
            picture = thumbnail(shown[FINAL_PREVIEWS:])
            save(embedding, request.folder, overwrite=True, thumbnail=picture)
        told = report(embedding, request.clip, trainer, learnt.finished, self.history)
        figures = self._figures(learnt, progress)
        if request.records is not None:
            figures["table"] = str(told.write(request.records, request.name) or "")
        return TrainingResult(
            embedding,
            learnt.path,
            first.pixels.unsqueeze(0) if shown is None else shown,
            [loss for _, loss in trainer.curve],
            figures,
            told,
            (*self.notices, *trainer.difficulties.remarks()),
        )

    def _notice(self, sentence: str) -> None:
        """Something a person should read, in the log and in the result."""
        self.notices.append(sentence)
        log.info(sentence)

    def _preview(self, shown: PreviewMaker, event: Previewed, progress: NodeProgress) -> None:
        """Show the word as it is now, and those that are learnt together with it."""
        runs = {run.request.name: run for run in (self, *self.companions)}
        words = [
            (run.initializer_text, Embedding(name, run._shown(event.vectors)))
            for name, run in runs.items()
        ]
        pictures = shown.during(words)
        for name, rows in pictures.items():
            runs[name].last_preview = rows[:, :, rows.shape[2] // 2 :]
        if pictures:
            progress.picture(sheet(pictures, named=len(runs) > 1))

    def _snapshot(self, event: Snapshotted, trainer: Trainer) -> None:
        """Keep the word as it is now, and those that are learnt together with it."""
        files, sources = self.files, trainer.dataset.num_sources
        if files is None:
            return
        for run in (self, *self.companions):
            vectors = run._shown(event.vectors)
            files.snapshot(run._embedding(vectors, event.step, sources), event.step)

    def _shown(self, vectors: Vectors) -> dict[str, torch.Tensor]:
        """The vectors of this run's own word, where several are learnt together."""
        return {key: each[self.shown_rows] for key, each in vectors.items()}

    def _embedding(self, vectors: Any, steps: int, sources: int) -> Embedding:
        request, recipe = self.request, self.recipe
        return Embedding(
            request.name,
            vectors,
            metadata.describe(
                name=request.name,
                encoders=list(vectors),
                num_vectors=recipe.num_vectors,
                architecture=self.family.architecture,
                base_model=request.base_model,
                base_model_hash=base_model_hash(request.base_model),
                initializer_text=self.initializer_text,
                kind=recipe.kind,
                steps=steps,
                pictures=sources,
                recipe=recipe.as_dict(),
                resolution=self.size,
            ),
        )

    def _figures(self, learnt: Learnt, progress: NodeProgress) -> dict[str, Any]:
        finished = learnt.finished
        return {
            "file": str(learnt.path),
            "steps": finished.step,
            "stopped": finished.reason,
            "best_step": finished.best_step,
            "seconds": round(progress.seconds, 1),
            "steps_per_second": round(finished.step / max(progress.seconds, 1e-9), 3),
            "probe_loss_before": round(finished.initial_loss, 6),
            "probe_loss_after": round(finished.best_loss, 6),
            "probe_share": round(self.recipe.probe_share, 3),
        }
