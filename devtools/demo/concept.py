"""What the demonstration teaches: a thing that the microworld's networks never saw."""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from PIL import Image

from microworld import renderer, world

SHAPE, COLOUR, TEXTURE = "star", "red", "dotted"
TRAINING_SCENES = (
    ("large", "left", "black"),
    ("large", "right", "gray"),
    ("small", "middle", "sky"),
    ("large", "middle", "sand"),
    ("small", "bottom", "night"),
    ("large", "top", "gray"),
)
NEW_BACKGROUND = "grass"


@dataclass(frozen=True)
class Prompts:
    """The four prompts that are compared; ``{}`` of a template takes the word."""

    initializer_text: str = "toy"
    oracle: str = f"{COLOUR} {TEXTURE} {SHAPE}"
    template: str = "a photo of a {}"
    new_template: str = f"a photo of a {{}} on {NEW_BACKGROUND}"


def training_pictures(seed: int = 7) -> list[Image.Image]:
    """Six renderings of the concept, 64 px, on backgrounds that leave one for the test."""
    generator = torch.Generator().manual_seed(seed)
    scenes = [
        world.scenes_like(
            1,
            generator,
            shape=SHAPE,
            colour=COLOUR,
            texture=TEXTURE,
            style="photo",
            size=size,
            position=position,
            background=background,
        )
        for size, position, background in TRAINING_SCENES
    ]
    pictures = renderer.render(world.Scenes.join(scenes))
    return [to_picture(picture) for picture in pictures]


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """[3, h, w] in 0..1 to a picture."""
    bytes_ = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(bytes_.permute(1, 2, 0).contiguous().numpy())


def to_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
