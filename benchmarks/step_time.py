"""Seconds a training step: this pack inside ComfyUI, and the loop that diffusers documents.

Same process, weights, pictures, precision and batch; the microworld's checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from microworld import concepts, diffusion, tokens
from microworld.learning import Learner

from .diffusers_loop import DiffusersLoop

BATCH = 4
WARM_UP = 3


@dataclass(frozen=True)
class StepTime:
    """Mean seconds a step."""

    ours: float
    diffusers: float


def measure(comfyui: Path, checkpoint: Path, steps: int) -> StepTime:
    """Times `steps` steps of each after a warm-up, ours first."""
    learner = Learner(comfyui, checkpoint)
    return StepTime(_ours(learner, steps), _diffusers(learner, comfyui, checkpoint, steps))


def _ours(learner: Learner, steps: int) -> float:
    """From one measured moment to the next; the probe of one picture between them is counted in."""
    concept = concepts.concept("red-star")
    run = learner.run(concept, every=steps, steps=2 * steps, batch_size=BATCH, probe_size=1)
    times = [time.perf_counter() for _ in run]
    return (times[-1] - times[-2]) / steps


def _diffusers(learner: Learner, comfyui: Path, checkpoint: Path, steps: int) -> float:
    from textual_inversion.tests.host.independent import Independent

    networks = Independent(checkpoint, comfyui / "comfy" / "sd1_tokenizer")
    vae = learner.sampler.vae.first_stage_model
    words = networks.tokenizer
    loop = DiffusersLoop(
        networks.text,
        networks.unet,
        lambda pictures: 0.18215 * vae.encode(pictures * 2 - 1),
        lambda prompt: words(prompt.format("toy"), padding="max_length", max_length=77)[
            "input_ids"
        ],
        diffusion.ALPHAS,
        tokens.START - 1,
    )
    pictures = concepts.pictures(concepts.concept("red-star"))[:BATCH]
    for _ in range(WARM_UP):
        loop.step(pictures)
    started = time.perf_counter()
    for _ in range(steps):
        loop.step(pictures)
    return (time.perf_counter() - started) / steps


def table(found: StepTime) -> str:
    """A Markdown table with the ratio."""
    return "\n".join(
        [
            f"Batch {BATCH}, float32, {torch.get_num_threads()} threads. "
            "On a CPU the pack encodes two prompts a step, the loop one for each picture.",
            "",
            "| loop | seconds a step | ratio |",
            "|---|---|---|",
            f"| diffusers' documented loop | {found.diffusers:.3f} | 1 |",
            f"| this pack | {found.ours:.3f} | {found.ours / found.diffusers:.2f} |",
        ]
    )
