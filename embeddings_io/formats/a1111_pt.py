"""AUTOMATIC1111's .pt: a table 'string_to_param' with one placeholder; SDXL by encoder key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from PIL import Image

from ..embedding import Embedding, EmbeddingError
from .container import Container, Part
from .string_to_param import has_table, noted, parts, placeholders
from .torch_zip import archive_of

LABEL = "A1111 .pt"
SUFFIX = ".pt"
SDXL = frozenset(("clip_l", "clip_g"))


def detect(container: Container) -> bool:
    """True if the top level has a table 'string_to_param' of plain tensors."""
    return has_table(container)


def read(container: Container) -> list[Part]:
    """The vectors of the file's one placeholder."""
    count = len(placeholders(container))
    if count != 1:
        raise EmbeddingError(
            f"{container.path.name} holds {count} placeholders where one embedding has exactly one."
        )
    return parts(container)


def objection(encoders: Collection[str]) -> str | None:
    """A1111 knows the encoders of Stable Diffusion 1, 2 and XL."""
    if set(encoders) not in ({"clip_l"}, {"clip_h"}, SDXL):
        return "holds clip_l, clip_h, or clip_l with clip_g only; choose sd3_flux or comfyui"
    return None


def encode(embedding: Embedding, picture: Image.Image | None) -> dict[str, bytes]:
    """One torch file. A1111 takes every entry of SDXL's table for vectors: no room for metadata."""
    return {SUFFIX: archive_of(table(embedding))}


def table(embedding: Embedding) -> Mapping[str, object]:
    """What A1111 stores for an embedding."""
    if set(embedding.vectors) == SDXL:
        return dict(embedding.vectors)
    (rows,) = embedding.vectors.values()
    name = Path(embedding.name).name
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": rows.clone()},
        **noted(name, embedding.metadata),
    }
