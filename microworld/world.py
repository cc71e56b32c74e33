"""What exists in the microworld: the attributes of a scene, their words, and what is held out."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

PICTURE_SIZE = 64

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
TEXTURES = ("plain", "striped", "dotted")
SIZES = ("small", "large")
POSITIONS = ("left", "right", "top", "bottom", "middle")
BACKGROUNDS = ("black", "gray", "sky", "sand", "grass", "night")
STYLES = ("photo", "pastel", "dark", "sketch")

HUES_RGB = {
    "red": (0.90, 0.10, 0.10),
    "orange": (1.00, 0.52, 0.05),
    "yellow": (1.00, 0.92, 0.15),
    "green": (0.10, 0.72, 0.20),
    "blue": (0.12, 0.28, 0.95),
    "purple": (0.52, 0.12, 0.75),
    "pink": (1.00, 0.50, 0.75),
    "white": (0.98, 0.98, 0.98),
    # Never named in a caption and never shown while the networks train.
    "teal": (0.11, 0.50, 0.575),
    "coral": (0.95, 0.30, 0.425),
}
COLOUR_VALUES = tuple(HUES_RGB)
STYLE_VALUES = (*STYLES, "faded sketch")

# Shape and colour pairs that never meet in a training picture.
UNSEEN_PAIRS = (
    ("star", "red"),
    ("moon", "blue"),
    ("cross", "yellow"),
    ("ring", "green"),
    ("triangle", "pink"),
    ("square", "orange"),
)
# Words that the networks are trained with and that are then cut out of the token table.
AMPUTATED_WORDS = ("heart", "purple")


@dataclass
class Scenes:
    """A batch of scenes as index tensors, one row a picture; `jitter` is continuous, [n, 4]."""

    shape: Tensor
    colour: Tensor
    texture: Tensor
    size: Tensor
    position: Tensor
    background: Tensor
    style: Tensor
    spoilt: Tensor
    jitter: Tensor

    def __len__(self) -> int:
        return len(self.shape)

    def __getitem__(self, rows: Tensor | slice) -> Scenes:
        return Scenes(*(getattr(self, f.name)[rows] for f in fields(self)))

    @staticmethod
    def join(parts: list[Scenes]) -> Scenes:
        names = [f.name for f in fields(Scenes)]
        return Scenes(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


VALUES = {
    "shape": SHAPES,
    "colour": COLOUR_VALUES,
    "texture": TEXTURES,
    "size": SIZES,
    "position": POSITIONS,
    "background": BACKGROUNDS,
    "style": STYLE_VALUES,
}
SPOILT_SHARE = 0.06


def _unseen_mask(shape: Tensor, colour: Tensor) -> Tensor:
    mask = torch.zeros_like(shape, dtype=torch.bool)
    for shape_word, colour_word in UNSEEN_PAIRS:
        mask |= (shape == SHAPES.index(shape_word)) & (colour == COLOURS.index(colour_word))
    return mask


def draw_scenes(
    count: int, generator: torch.Generator, *, everything: bool = False, plain_style: float = 0.55
) -> Scenes:
    """Draws `count` scenes; `everything` also draws what is held out (for the judge)."""

    def pick(options: int) -> Tensor:
        return torch.randint(options, (count,), generator=generator)

    shape = pick(len(SHAPES))
    colour = pick(len(COLOUR_VALUES) if everything else len(COLOURS))
    style = pick(len(STYLE_VALUES) if everything else len(STYLES))
    if not everything:
        style = torch.where(torch.rand(count, generator=generator) < plain_style, 0, style)
        for _ in range(64):
            unseen = _unseen_mask(shape, colour)
            if not unseen.any():
                break
            shape = torch.where(unseen, pick(len(SHAPES)), shape)
            colour = torch.where(unseen, pick(len(COLOURS)), colour)
    return Scenes(
        shape=shape,
        colour=colour,
        texture=pick(len(TEXTURES)),
        size=pick(len(SIZES)),
        position=pick(len(POSITIONS)),
        background=pick(len(BACKGROUNDS)),
        style=style,
        spoilt=torch.rand(count, generator=generator) < SPOILT_SHARE,
        jitter=torch.rand(count, 4, generator=generator) * 2 - 1,
    )


def scenes_like(count: int, generator: torch.Generator, **fixed: str | bool) -> Scenes:
    """Scenes with some attributes fixed by name (`shape="star"`); the others are drawn freely."""
    scenes = draw_scenes(count, generator)
    scenes.spoilt = torch.full((count,), bool(fixed.pop("spoilt", False)))
    for name, word in fixed.items():
        setattr(scenes, name, torch.full((count,), VALUES[name].index(word)))
    return scenes
