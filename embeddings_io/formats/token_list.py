"""A list of tables {token: vectors}, as some early trainers wrote it; ComfyUI joins them."""

from __future__ import annotations

import torch

from ..embedding import EmbeddingError
from .container import Container, Part
from .widths import by_width, is_vectors

LABEL = "list of tokens .pt"
SUFFIX = ".pt"


def detect(container: Container) -> bool:
    """True for a list of nothing but tables."""
    data = container.data
    return isinstance(data, list) and bool(data) and all(isinstance(item, dict) for item in data)


def read(container: Container) -> list[Part]:
    """One embedding: the vectors of each width in their order, joined."""
    rows: dict[str, list[torch.Tensor]] = {}
    for item in container.data if isinstance(container.data, list) else []:
        for value in filter(is_vectors, item.values()):
            for encoder, found in by_width(container, value).items():
                rows.setdefault(encoder, []).append(found.reshape(-1, found.shape[-1]).float())
    if not rows:
        raise EmbeddingError(f"{container.path.name} is a list without any vectors.")
    return [Part({encoder: torch.cat(found) for encoder, found in rows.items()})]
