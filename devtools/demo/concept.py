"""What the demonstration teaches: a thing that the microworld's networks never saw."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from PIL import Image

from microworld import concepts

CONCEPT = concepts.concept("red-star")
NEW_BACKGROUND = "grass"


@dataclass(frozen=True)
class Prompts:
    """The prompts that are compared; ``{}`` of a template takes the word."""

    initializer_text: str = CONCEPT.initializer
    oracle: str = CONCEPT.oracle or ""
    template: str = "a photo of the {}"
    new_template: str = f"a photo of the {{}} on {NEW_BACKGROUND}"


def training_pictures() -> list[Image.Image]:
    """Six renderings of the concept, 64 px, that vary in everything else."""
    return [to_picture(picture) for picture in concepts.pictures(CONCEPT)]


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """[3, h, w] in 0..1 to a picture."""
    bytes_ = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(bytes_.permute(1, 2, 0).contiguous().numpy())


def to_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
