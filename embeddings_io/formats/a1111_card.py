"""AUTOMATIC1111's picture cards: a PNG that holds its embedding twice, in a text chunk and in its
pixels. Lossless WebP is read too; JPEG destroys the pixels."""

from __future__ import annotations

import io
from collections.abc import Collection

import numpy as np
from PIL import Image, PngImagePlugin

from ..embedding import Embedding
from . import a1111_pt
from .card_picture import card_picture, shades
from .container import Container, Part
from .onetrainer import renamed
from .picture_card import CHUNK, hide_text, text_chunk, to_json
from .string_to_param import has_table

LABEL = "A1111 picture card"
SUFFIX = ".png"


def detect(container: Container) -> bool:
    """True for the table out of a picture."""
    return container.kind == "card"


def read(container: Container) -> list[Part]:
    """One embedding, or SDXL's vectors by encoder key."""
    vectors = renamed(container.tensors)
    if vectors and not has_table(container):
        return [Part(vectors)]
    return a1111_pt.read(container)


def objection(encoders: Collection[str]) -> str | None:
    """A card holds what A1111's .pt holds."""
    return a1111_pt.objection(encoders)


def encode(embedding: Embedding, picture: Image.Image | None) -> dict[str, bytes]:
    """One PNG: the picture, or one of the vectors, with name and facts written on it."""
    text = to_json(a1111_pt.table(embedding))
    drawn = np.asarray(card_picture(embedding, picture))
    height = drawn.shape[0]
    blocks = hide_text(text, height)
    left, right = (block | shades(embedding, block.shape[:2])[..., None] for block in blocks)
    black = np.zeros((height, 1, 3), dtype=np.uint8)
    pixels = np.concatenate([left, black, drawn, black, right], axis=1)
    info = PngImagePlugin.PngInfo()
    info.add_text(CHUNK, text_chunk(text))
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format="PNG", pnginfo=info)
    return {SUFFIX: buffer.getvalue()}
