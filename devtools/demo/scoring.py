"""The judge's opinion of pictures: how much of the concept they show."""

from __future__ import annotations

import numpy
import torch
from PIL import Image

from microworld import judge

from . import concept

CONCEPT = {"shape": concept.SHAPE, "colour": concept.COLOUR, "texture": concept.TEXTURE}


def attributes(pictures: list[Image.Image]) -> dict[str, float]:
    """The share of pictures that show the concept's shape, colour and texture."""
    seen = judge.describe(_pixels(pictures))
    return {
        name: round(sum(word == wanted for word in seen[name]) / len(pictures), 3)
        for name, wanted in CONCEPT.items()
    }


def reconstruction(pictures: list[Image.Image]) -> float:
    """The mean of the concept's attributes, 0 to 1."""
    shares = attributes(pictures)
    return round(sum(shares.values()) / len(shares), 3)


def background(pictures: list[Image.Image], wanted: str) -> float:
    seen = judge.describe(_pixels(pictures))["background"]
    return round(sum(word == wanted for word in seen) / len(pictures), 3)


def _pixels(pictures: list[Image.Image]) -> torch.Tensor:
    arrays = [numpy.asarray(picture.convert("RGB"), dtype=numpy.float32) for picture in pictures]
    return torch.from_numpy(numpy.stack(arrays)).permute(0, 3, 1, 2) / 255
