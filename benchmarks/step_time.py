"""Seconds a training step: this pack inside ComfyUI, and the loop that diffusers documents.

Same process, weights, pictures, precision and batch; the microworld's checkpoint at its full
width.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from microworld import concepts, diffusion, tokens
from microworld.learning import Learner

from .diffusers_loop import DiffusersLoop
from .recipes import MOST_SENTENCES

BATCHES = (1, 4, 6, 8, 16)
WARM_UP = 2


@dataclass(frozen=True)
class StepTime:
    """Mean seconds a step at one batch size, by the clock and of all cores together.

    ``sentences`` is ours where every picture, up to four, has a sentence of its own.
    """

    ours: float
    diffusers: float
    ours_cpu: float
    diffusers_cpu: float
    sentences: float


def measure(
    comfyui: Path, checkpoint: Path, steps: int, batches: Sequence[int] = BATCHES
) -> dict[int, StepTime]:
    """Times ``steps`` steps of each loop after a warm-up, for every batch size."""
    learner = Learner(comfyui, checkpoint, fast=False)
    loop = _loop(learner, comfyui, checkpoint)
    return {batch: _measured(learner, loop, batch, steps) for batch in batches}


def _measured(learner: Learner, loop: DiffusersLoop, batch: int, steps: int) -> StepTime:
    ours, diffusers = _ours(learner, batch, steps), _diffusers(loop, batch, steps)
    sentences = min(batch, MOST_SENTENCES)
    apart = ours if sentences == 1 else _ours(learner, batch, steps, prompts_per_step=sentences)
    return StepTime(ours[0], diffusers[0], ours[1], diffusers[1], apart[0])


def _ours(learner: Learner, batch: int, steps: int, **recipe: int) -> tuple[float, float]:
    """Steps alone; probes are told as a share of the run where they are measured."""
    from textual_inversion.training.events import Stepped

    concept = concepts.concept("red-star")
    times: list[tuple[float, float]] = []
    unprobed = {"probe_every": 10_000, "probe_size": 1, **recipe}
    run = learner.events(concept, steps=WARM_UP + steps + 1, batch_size=batch, **unprobed)
    for event in run:
        if isinstance(event, Stepped):
            times.append((time.perf_counter(), time.process_time()))
    first, last = times[WARM_UP - 1], times[WARM_UP + steps - 1]
    return (last[0] - first[0]) / steps, (last[1] - first[1]) / steps


def _loop(learner: Learner, comfyui: Path, checkpoint: Path) -> DiffusersLoop:
    from textual_inversion.tests.host.independent import Independent

    networks = Independent(checkpoint, comfyui / "comfy" / "sd1_tokenizer")
    vae = learner.sampler.vae.first_stage_model
    words = networks.tokenizer
    return DiffusersLoop(
        (networks.text,),
        networks.unet,
        lambda pictures: 0.18215 * vae.encode(pictures * 2 - 1),
        lambda prompt: words(prompt.format("toy"), padding="max_length", max_length=77)[
            "input_ids"
        ],
        diffusion.ALPHAS,
        tokens.START - 1,
    )


def _diffusers(loop: DiffusersLoop, batch: int, steps: int) -> tuple[float, float]:
    pictures = concepts.pictures(concepts.concept("red-star"), batch)
    for _ in range(WARM_UP):
        loop.step(pictures)
    started = time.perf_counter(), time.process_time()
    for _ in range(steps):
        loop.step(pictures)
    return (time.perf_counter() - started[0]) / steps, (time.process_time() - started[1]) / steps


def keep(found: Mapping[int, StepTime], place: Path) -> None:
    """Write the times where the race looks for them."""
    content = {batch: asdict(each) for batch, each in found.items()}
    place.write_text(json.dumps(content, indent=1) + "\n")


def kept(place: Path) -> dict[int, StepTime]:
    """The times last measured; empty where there are none."""
    if not place.exists():
        return {}
    content = json.loads(place.read_text())
    return {int(batch): StepTime(**each) for batch, each in content.items()}


def table(found: Mapping[int, StepTime]) -> str:
    """A Markdown table with the ratios."""
    lines = [
        f"The microworld's checkpoint at its full width, float32, {torch.get_num_threads()} "
        "threads. On a CPU the pack learns the pictures of a step in one sentence, the loop each "
        "in its own; beside it ours with a sentence for each picture, four at most.",
        "",
        "| pictures a step | diffusers' loop, s | ours, s | ratio | ratio in CPU seconds "
        "| with more sentences, s | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {batch} | {each.diffusers:.3f} | {each.ours:.3f} | {each.ours / each.diffusers:.2f} "
        f"| {each.ours_cpu / each.diffusers_cpu:.2f} | {each.sentences:.3f} "
        f"| {each.sentences / each.diffusers:.2f} |"
        for batch, each in found.items()
    ]
    return "\n".join(lines)
