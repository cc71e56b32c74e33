"""What a card shows: a picture of the vectors where no other is given, and a few words."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .. import metadata as keys
from ..embedding import Embedding

SIZE = 512
_DARK, _LIGHT = (18, 32, 64), (255, 196, 96)
_BAND = 56


def card_picture(embedding: Embedding, picture: Image.Image | None) -> Image.Image:
    """A picture SIZE pixels high with name, model, vectors and steps on it."""
    shown = of_vectors(embedding) if picture is None else picture.convert("RGB")
    width = max(SIZE // 2, round(shown.width * SIZE / shown.height))
    shown = shown.resize((min(width, 2 * SIZE), SIZE), Image.Resampling.LANCZOS)
    steps = embedding.metadata.get(keys.STEPS, "")
    facts = [
        embedding.metadata.get(keys.BASE_MODEL, ""),
        f"{embedding.num_vectors} vectors",
        f"{steps} steps" if steps else "",
    ]
    _write(shown, 0, embedding.name, 32)
    _write(shown, SIZE - _BAND, "   ".join(filter(None, facts)), 20)
    return shown


def of_vectors(embedding: Embedding) -> Image.Image:
    """Every vector a band of coloured squares, small numbers dark, large ones light."""
    bands = [_squares(row) for rows in embedding.vectors.values() for row in rows[:8]]
    width = max(band.shape[1] for band in bands)
    padded = [np.pad(band, ((0, 1), (0, width - band.shape[1]))) for band in bands]
    levels = np.concatenate(padded)[..., None]
    dark, light = np.array(_DARK), np.array(_LIGHT)
    colours = (dark + levels * (light - dark)).round().astype(np.uint8)
    return Image.fromarray(colours).resize((SIZE, SIZE), Image.Resampling.NEAREST)


def shades(embedding: Embedding, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The upper four bits of a card's edge [h, w]: diagonal stripes, never quite black."""
    row = next(iter(embedding.vectors.values()))[0]
    strengths = _strengths(row)[: shape[0]]
    tilted = np.add.outer(np.arange(shape[0]) // 8, np.arange(shape[1]) // 8) % len(strengths)
    shaded: NDArray[np.uint8] = (1 + (strengths[tilted] * 14).astype(np.uint8)) << 4
    return shaded


def _squares(row: torch.Tensor) -> NDArray[np.float64]:
    strengths = _strengths(row)
    high = max(1, int(len(strengths) ** 0.5) // 2)
    return np.resize(strengths, (high, -(-len(strengths) // high)))


def _strengths(row: torch.Tensor) -> NDArray[np.float64]:
    """The numbers of a vector without their signs, as parts of the largest."""
    sizes = row.abs().double().numpy()
    return sizes / max(float(sizes.max()), 1e-30)


def _write(picture: Image.Image, top: int, text: str, size: int) -> None:
    """White letters on a darkened band, smaller where they would not fit."""
    band = picture.crop((0, top, picture.width, top + _BAND)).point(lambda level: level // 3)
    picture.paste(band, (0, top))
    draw = ImageDraw.Draw(picture)
    text = text.encode("latin-1", "replace").decode("latin-1")[:120]
    while size > 8 and draw.textlength(text, font=_font(size)) > picture.width - 24:
        size -= 2
    draw.text((12, top + (_BAND - size) // 2), text, fill=(255, 255, 255), font=_font(size))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own letters; before Pillow 10.1 they have one size only."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()
