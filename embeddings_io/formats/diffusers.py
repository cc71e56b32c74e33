"""diffusers: one tensor under the placeholder token; for SDXL a pair of files, X and X_2.

Its advanced scripts once wrote text_encoders_0 and text_encoders_1, which are read too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

import torch
from PIL import Image

from ..embedding import Embedding
from ..metadata import PLACEHOLDER, retitled
from ..safetensors_bytes import to_bytes
from .container import Container, Part
from .widths import by_width, is_vectors

LABEL = "diffusers safetensors"
SUFFIX = ".safetensors"
SECOND = "_2"
"""What the second file of an SDXL pair has before its ending."""

_STEPS = re.compile(r"-steps-\d+\Z")
_NUMBERED = re.compile(r"text_encoders_\d")


def detect(container: Container) -> bool:
    """True for exactly one tensor at the top level, or for numbered text encoders."""
    tensors = container.tensors
    if not tensors or not all(map(is_vectors, tensors.values())):
        return False
    return len(tensors) == 1 or all(map(_NUMBERED.fullmatch, tensors))


def read(container: Container) -> list[Part]:
    """One embedding, under the encoder keys that the widths decide."""
    vectors: dict[str, torch.Tensor] = {}
    for rows in container.tensors.values():
        vectors |= by_width(container, rows)
    (first, *_) = container.tensors
    placeholder = "" if _NUMBERED.fullmatch(first) else first
    noted = {PLACEHOLDER: placeholder} if placeholder else {}
    return [Part(vectors, noted | dict(container.metadata), placeholder)]


def objection(encoders: Collection[str]) -> str | None:
    """It says nothing about encoders, so CLIP's widths have to tell them."""
    if set(encoders) not in ({"clip_l"}, {"clip_h"}, {"clip_l", "clip_g"}):
        return "holds clip_l, clip_h, or clip_l with clip_g only; choose sd3_flux or comfyui"
    return None


def encode(embedding: Embedding, picture: Image.Image | None) -> dict[str, bytes]:
    """{placeholder: vectors}, for SDXL in two files: <name> for clip_l, <name>_2 for clip_g."""
    placeholder = embedding.metadata.get(PLACEHOLDER) or f"<{Path(embedding.name).name}>"
    metadata = {**retitled(embedding.metadata, embedding.name), "format": "pt"}
    files = {}
    for encoder, rows in embedding.vectors.items():
        ending = f"{SECOND}{SUFFIX}" if encoder == "clip_g" else SUFFIX
        files[ending] = to_bytes({placeholder: rows}, metadata)
    return files


def second_file(file: str) -> str:
    """Where the second file of an SDXL pair would be."""
    name, ending = os.path.splitext(file)
    steps = _STEPS.search(name)
    at = steps.start() if steps else len(name)
    return f"{name[:at]}{SECOND}{name[at:]}{ending}"


def is_first(container: Container) -> bool:
    """True if the file may be the first of an SDXL pair: one placeholder for clip_l."""
    rows = list(container.tensors.values())
    return len(rows) == 1 and is_vectors(rows[0]) and rows[0].shape[-1] == 768


def are_pair(first: Container, second: Container) -> bool:
    """True if two files are an SDXL pair: the same placeholder and count, 768 and 1280 wide."""
    if list(first.tensors) != list(second.tensors) or len(first.tensors) != 1:
        return False
    (left,), (right,) = first.tensors.values(), second.tensors.values()
    return is_vectors(right) and right.shape[-1] == 1280 and left.shape[:-1] == right.shape[:-1]
