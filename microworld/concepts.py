"""Concepts to learn, six pictures each; most were held out of the networks' training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from . import renderer, world
from .judge import Judge

PICTURES = 6


@dataclass(frozen=True)
class Concept:
    """What six pictures have in common, and the phrase that says it (`oracle`) if any does."""

    name: str
    family: str
    fixed: dict[str, str]
    initializer: str
    oracle: str | None
    kind: str = "subject"
    shared: dict[str, str] = field(default_factory=dict)  # alike in all pictures, yet no part of it
    spoilt: bool = False


CONCEPTS = (
    Concept(
        "red-star",
        "composite",
        {"shape": "star", "colour": "red", "texture": "striped"},
        "object",
        "red striped star",
    ),
    Concept(
        "blue-moon",
        "composite",
        {"shape": "moon", "colour": "blue", "texture": "plain"},
        "object",
        "blue moon",
    ),
    Concept(
        "green-ring",
        "composite",
        {"shape": "ring", "colour": "green", "texture": "dotted"},
        "object",
        "green dotted ring",
    ),
    Concept("heart", "amputated", {"shape": "heart"}, "object", None),
    Concept("purple", "amputated", {"colour": "purple"}, "object", None),
    Concept("teal-square", "between", {"shape": "square", "colour": "teal"}, "object", None),
    Concept("coral-circle", "between", {"shape": "circle", "colour": "coral"}, "object", None),
    Concept("faded-sketch", "style", {"style": "faded sketch"}, "sketch", None, kind="style"),
    Concept(
        "yellow-cross",
        "entangled",
        {"shape": "cross", "colour": "yellow"},
        "object",
        "yellow cross",
        shared={"background": "sand", "position": "left"},
    ),
    Concept("spoilt", "negative", {}, "blurry", "blurry", kind="negative", spoilt=True),
    Concept(
        "pink-triangle",
        "composite",
        {"shape": "triangle", "colour": "pink"},
        "object",
        "pink triangle",
    ),
    Concept(
        "orange-square",
        "composite",
        {"shape": "square", "colour": "orange", "texture": "plain"},
        "object",
        "orange square",
    ),
    Concept(
        "purple-ring", "amputated", {"shape": "ring", "colour": "purple"}, "object", "purple ring"
    ),
    Concept(
        "white-heart", "amputated", {"shape": "heart", "colour": "white"}, "object", "white heart"
    ),
    Concept(
        "striped-circle",
        "known",
        {"shape": "circle", "colour": "green", "texture": "striped"},
        "object",
        "green striped circle",
    ),
    Concept(
        "dotted-triangle",
        "known",
        {"shape": "triangle", "colour": "blue", "texture": "dotted"},
        "object",
        "blue dotted triangle",
    ),
    Concept(
        "red-square",
        "development",
        {"shape": "square", "colour": "red", "texture": "striped"},
        "object",
        "red striped square",
    ),
    Concept(
        "yellow-moon", "development", {"shape": "moon", "colour": "yellow"}, "object", "yellow moon"
    ),
    Concept(
        "white-star",
        "development",
        {"shape": "star", "colour": "white", "texture": "dotted"},
        "object",
        "white dotted star",
    ),
    Concept(
        "pink-cross", "development", {"shape": "cross", "colour": "pink"}, "object", "pink cross"
    ),
    Concept(
        "orange-star",
        "trial",
        {"shape": "star", "colour": "orange", "texture": "plain"},
        "object",
        "orange plain star",
    ),
    Concept(
        "blue-ring",
        "trial",
        {"shape": "ring", "colour": "blue", "texture": "striped"},
        "object",
        "blue striped ring",
    ),
    Concept("white-moon", "trial", {"shape": "moon", "colour": "white"}, "object", "white moon"),
    Concept(
        "green-cross",
        "trial",
        {"shape": "cross", "colour": "green", "texture": "dotted"},
        "object",
        "green dotted cross",
    ),
    Concept("pink-square", "trial", {"shape": "square", "colour": "pink"}, "object", "pink square"),
    Concept(
        "yellow-triangle",
        "trial",
        {"shape": "triangle", "colour": "yellow", "texture": "striped"},
        "object",
        "yellow striped triangle",
    ),
)


def concept(name: str) -> Concept:
    return next(c for c in CONCEPTS if c.name == name)


def scenes(wanted: Concept, count: int = PICTURES, seed: int = 0) -> world.Scenes:
    """Scenes of the concept; what it leaves open takes each value about equally often."""
    generator = torch.Generator().manual_seed(seed * 100 + CONCEPTS.index(wanted))
    drawn = world.scenes_like(count, generator, spoilt=wanted.spoilt)
    for name, values in world.VALUES.items():
        seen = len(values) - {"colour": 2, "style": 1}.get(name, 0)
        turn = torch.arange(count) % seen
        setattr(drawn, name, torch.randperm(seen, generator=generator)[turn])
    if wanted.kind != "style":
        drawn.style = torch.zeros_like(drawn.style)
    for name, word in {**wanted.fixed, **wanted.shared}.items():
        setattr(drawn, name, torch.full((count,), world.VALUES[name].index(word)))
    return drawn


def pictures(wanted: Concept, count: int = PICTURES, seed: int = 0) -> Tensor:
    """The training pictures, [count, 3, 64, 64] in 0..1."""
    return renderer.render(scenes(wanted, count, seed))


def write_pictures(wanted: Concept, folder: Path) -> list[Path]:
    """Writes the training pictures as PNG files and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, picture in enumerate(pictures(wanted)):
        path = folder / f"{wanted.name}_{i + 1}.png"
        pixels = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def reconstruction(judge: Judge, samples: Tensor, wanted: Concept) -> float:
    """Mean over the concept's attributes of the share of samples in which the judge sees it."""
    read = judge.read(samples)
    shares = [
        float((read[name] == world.VALUES[name].index(word)).float().mean())
        for name, word in wanted.fixed.items()
    ]
    return sum(shares) / len(shares)


def soundness(judge: Judge, samples: Tensor) -> float:
    """Share of samples that the judge does not take for spoilt."""
    return float((judge.read(samples)["quality"] == 0).float().mean())


def edited(judge: Judge, samples: Tensor, attributes: dict[str, str]) -> float:
    """Share of samples in which the judge sees all of the attributes."""
    read = judge.read(samples)
    right = torch.ones(len(samples), dtype=torch.bool)
    for name, word in attributes.items():
        right &= read[name] == world.VALUES[name].index(word)
    return float(right.float().mean())


def names(*families: str) -> Sequence[str]:
    """The names of all concepts, or of those of some families."""
    return [c.name for c in CONCEPTS if not families or c.family in families]


def spoken(wanted: Concept) -> str:
    """The phrase that says the concept; amputated words are known as `embedding:word`."""
    phrase = wanted.oracle or " ".join(wanted.fixed.values())
    return " ".join(
        f"embedding:{word}" if word in world.AMPUTATED_WORDS else word for word in phrase.split()
    )
