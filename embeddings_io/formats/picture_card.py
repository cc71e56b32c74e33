"""Embeddings hidden in pictures, as AUTOMATIC1111 shares them: a PNG text chunk, and pixels.

The JSON of an embedding, compressed by zlib, is split into half bytes: the lower halves lie in
the lower four bits of the pixels left of the picture, the upper halves right of it, a black column
between each. Both are masked by the numbers s <- 1664525 s + 1013904223 (mod 2^32), s mod 255.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..embedding import EmbeddingError
from ..pictures import BROKEN, claims_too_much
from .refusals import refuse_by_keys

Pixels = NDArray[np.uint8]

CARD_SUFFIXES = (".png", ".webp")
CHUNK = "sd-ti-embedding"
TENSOR = "TORCHTENSOR"
PNG = b"\x89PNG\r\n\x1a\n"

MAX_PIXELS = 32 * 1024 * 1024
MAX_TEXT = 16 * 1024 * 1024
MAX_GROWTH = 32
"""How many times the file's size (and a MiB) its unpacked text may have."""


def is_picture(head: bytes) -> bool:
    """True if a file that begins like this is a PNG or WebP picture."""
    return head.startswith(PNG) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_card(path: Path, head: bytes) -> dict[str, Any]:
    """The embedding's table, its tensors as float32. Raises EmbeddingError if there is none."""
    limit = min(MAX_TEXT, MAX_GROWTH * path.stat().st_size + 2**20)
    text = _text_chunk(path) if head.startswith(PNG) else None
    if text is None:
        text = hidden_text(_pixels(path), limit)
    if text is None:
        raise EmbeddingError(f"{path.name} is a picture without an embedding in it.")
    if len(text) > limit:
        raise EmbeddingError(f"{path.name} holds more text than an embedding has.")
    try:
        data = json.loads(text.decode("utf-8"), object_hook=_with_tensor)
    except (ValueError, RecursionError, TypeError) as error:
        raise EmbeddingError(f"{path.name} has an embedding in it that is broken.") from error
    table = _plain(data)
    refuse_by_keys(path, table)
    return table


def to_json(table: Mapping[str, object]) -> bytes:
    """A table of tensors, texts and numbers as A1111's JSON; float32 values keep every bit."""
    return json.dumps(table, default=lambda rows: {TENSOR: rows.tolist()}).encode("ascii")


def text_chunk(text: bytes) -> str:
    """What the PNG text chunk holds."""
    return base64.b64encode(text).decode("ascii")


def hidden_text(pixels: Pixels, limit: int) -> bytes | None:
    """The JSON in the pixels [h, w, 3], at most limit + 1 bytes of it, or None if there is none."""
    bright = np.all(pixels > 0, axis=2)
    if not np.any(bright):
        return None
    columns, rows = np.flatnonzero(np.any(bright, axis=0)), np.flatnonzero(np.any(bright, axis=1))
    cropped = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & 0x0F
    black = np.flatnonzero(cropped.max(axis=(0, 2)) == 0)
    if len(black) < 2:
        return None
    lower, upper = cropped[:, : black[0]], cropped[:, black[-1] + 1 :]
    if lower.shape != upper.shape or not lower.size:
        return None
    mask = _mask(lower.size).reshape(lower.shape)
    packed = ((upper ^ mask) << 4 | (lower ^ mask)).tobytes()
    try:
        return zlib.decompressobj().decompress(packed, limit + 1)
    except zlib.error:
        return None


def hide_text(text: bytes, height: int) -> tuple[Pixels, Pixels]:
    """The lower four bits of the blocks left and right of a picture, [height, w, 3] each."""
    packed = np.frombuffer(zlib.compress(text, 9), dtype=np.uint8)
    size = (len(packed) // (3 * height) + 1) * 3 * height
    padded: Pixels = np.resize(packed, size).reshape(height, -1, 3)
    mask = _mask(size).reshape(padded.shape)
    low, four = np.uint8(0x0F), np.uint8(4)
    return (padded & low) ^ mask, (padded >> four) ^ mask


def _mask(size: int) -> Pixels:
    """The first numbers of the generator, lower four bits."""
    states = np.array([1013904223], dtype=np.uint64)
    factor, step = 1664525, 1013904223
    while len(states) < size:
        further = (states * np.uint64(factor) + np.uint64(step)) & np.uint64(0xFFFFFFFF)
        states = np.concatenate([states, further])
        factor, step = factor * factor % 2**32, (factor * step + step) % 2**32
    numbers: Pixels = (states[:size] % np.uint64(255) & np.uint64(15)).astype(np.uint8)
    return numbers


def _text_chunk(path: Path) -> bytes | None:
    """The text in a PNG's chunk of the right name, walking from chunk to chunk."""
    wanted = CHUNK.encode("ascii") + b"\0"
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(len(PNG))
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if length > size:
                return None
            if kind == b"tEXt" and file.read(min(len(wanted), length)) == wanted:
                return _decoded(path, file.read(min(length - len(wanted), 2 * MAX_TEXT)))
            if kind == b"tEXt":
                file.seek(length - min(len(wanted), length), 1)
            else:
                file.seek(length, 1)
            file.seek(4, 1)
    return None


def _decoded(path: Path, text: bytes) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError as error:
        raise EmbeddingError(f"{path.name} has an embedding in it that is broken.") from error


def _pixels(path: Path) -> Pixels:
    try:
        with Image.open(path, formats=("PNG", "WEBP")) as picture:
            too_many = picture.width * picture.height > MAX_PIXELS
            if too_many or claims_too_much(picture, path.stat().st_size):
                raise EmbeddingError(
                    f"{path.name} has {picture.width} x {picture.height} pixels, too many for an "
                    "embedding."
                )
            return np.asarray(picture.convert("RGB"))
    except EmbeddingError:
        raise
    except BROKEN as error:
        raise EmbeddingError(f"{path.name} is a broken picture; get it again.") from error


def _with_tensor(table: dict[str, Any]) -> object:
    if TENSOR not in table:
        return table
    values = np.array(table[TENSOR])
    if values.dtype.kind not in "fiu":
        raise ValueError("a tensor of something else than numbers")
    return torch.from_numpy(values.astype(np.float32))


def _plain(data: object) -> dict[str, Any]:
    """The entries that an embedding has: tensors, texts and numbers, and tables of these."""
    table = data if isinstance(data, dict) else {}
    kept = (torch.Tensor, str, int)
    plain: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            plain[key] = {name: item for name, item in value.items() if isinstance(item, kept)}
        elif isinstance(value, kept):
            plain[key] = value
    return plain
