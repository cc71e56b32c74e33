"""The judge's opinion of pictures: how much of the concept they show."""

from __future__ import annotations

import numpy
import torch
from PIL import Image

from microworld import concepts, judge, world

from .concept import CONCEPT


def reconstruction(pictures: list[Image.Image]) -> float:
    """The mean share of the concept's attributes that the judge sees, 0 to 1."""
    return round(concepts.reconstruction(judge.trained(), _pixels(pictures), CONCEPT), 3)


def attributes(pictures: list[Image.Image]) -> dict[str, float]:
    """The share of pictures that show each of the concept's attributes."""
    return {name: share(pictures, name, word) for name, word in CONCEPT.fixed.items()}


def share(pictures: list[Image.Image], attribute: str, word: str) -> float:
    """The share of pictures in which the judge reads ``attribute`` as ``word``."""
    read = judge.trained().read(_pixels(pictures))[attribute]
    wanted = world.VALUES[attribute].index(word)
    return round(float((read == wanted).float().mean()), 3)


def _pixels(pictures: list[Image.Image]) -> torch.Tensor:
    arrays = [numpy.asarray(picture.convert("RGB"), dtype=numpy.float32) for picture in pictures]
    return torch.from_numpy(numpy.stack(arrays)).permute(0, 3, 1, 2) / 255
