"""Does a learnt negative word make pictures sounder? Plain and told apart from good pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from microworld import concepts, renderer, world
from microworld.judge import trained
from microworld.learning import Learner

PROMPTS = ("a blurry picture", "a picture", "a photo of a toy", "a picture of a star on grass")
GOOD_PICTURES = 6


@dataclass(frozen=True)
class Soundness:
    """What stood in the negative prompt, and the share of samples the judge takes for sound."""

    negative: str
    sound: float
    by_prompt: tuple[float, ...]


def measure(learner: Learner, steps: int, count: int, seed: int = 0) -> list[Soundness]:
    """``count`` samples of each prompt under four negative prompts, at the same seeds."""
    learnt = {
        "learnt, bad pictures alone": _learn(learner, steps, seed, contrast=False),
        "learnt, told apart from good ones": _learn(learner, steps, seed, contrast=True),
    }
    found = [
        _scored(learner, "nothing", "", {}, count),
        _scored(learner, "blurry", "blurry", {}, count),
    ]
    for name, vectors in learnt.items():
        found.append(_scored(learner, name, "embedding:measured", vectors, count))
    return found


def table(found: list[Soundness]) -> str:
    """The shares in Markdown, a column for every prompt."""
    lines = [
        "| negative prompt | sound | " + " | ".join(f"*{prompt}*" for prompt in PROMPTS) + " |",
        "|---" * (2 + len(PROMPTS)) + "|",
    ]
    for each in found:
        shares = " | ".join(f"{share:.2f}" for share in each.by_prompt)
        lines.append(f"| {each.negative} | {each.sound:.3f} | {shares} |")
    return "\n".join(lines)


def _learn(learner: Learner, steps: int, seed: int, *, contrast: bool) -> Mapping[str, Any]:
    from textual_inversion.nodes.training_request import TrainingRequest
    from textual_inversion.nodes.training_run import TrainingRun
    from textual_inversion.training.recipe import Recipe

    bad = concepts.pictures(concepts.concept("spoilt")).movedim(1, -1)
    generator = torch.Generator().manual_seed(1000 + seed)
    good = renderer.render(world.scenes_like(GOOD_PICTURES, generator, spoilt=False))
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        request = TrainingRequest(
            model=learner.sampler.model,
            clip=learner.sampler.clip,
            vae=learner.sampler.vae,
            images=[bad],
            captions=(),
            name="measured",
            initializer_text="object",
            recipe=Recipe(kind="negative", steps=steps, seed=seed, preview_every=0),
            overwrite=True,
            folder=Path(folder),
            good_images=[good.movedim(1, -1)] if contrast else (),
        )
        return TrainingRun(request).execute().embedding.vectors


def _scored(
    learner: Learner, name: str, negative: str, vectors: Mapping[str, Any], count: int
) -> Soundness:
    from textual_inversion.embeddings_io.embedding import Embedding
    from textual_inversion.host.clip_with import clip_with

    plain = learner.sampler.clip
    if vectors:
        learner.sampler.clip = clip_with(plain, [Embedding("measured", dict(vectors), {})])
    try:
        shares = tuple(
            concepts.soundness(
                trained(), learner.sampler.pictures([prompt] * count, seed=7, negative=negative)
            )
            for prompt in PROMPTS
        )
    finally:
        learner.sampler.clip = plain
    return Soundness(name, sum(shares) / len(shares), shares)
