"""A torch file that is nothing but a tensor [n, d] or [d]."""

from __future__ import annotations

import torch

from ..embedding import EmbeddingError
from .container import Container, Part
from .widths import by_width, is_vectors

LABEL = "bare tensor .pt"
SUFFIX = ".pt"
IMAGE_FEATURE_NORM = 8.0
"""CLIP-L's image features are 13 to 19 long, its token vectors about 0.4."""


def detect(container: Container) -> bool:
    """True for a bare tensor of one or two dimensions."""
    return is_vectors(container.data)


def read(container: Container) -> list[Part]:
    """One embedding, under the encoder key that the width decides."""
    rows = container.data
    assert isinstance(rows, torch.Tensor)
    vectors = by_width(container, rows)
    if rows.numel() == 768 and not rows.is_meta and float(rows.float().norm()) > IMAGE_FEATURE_NORM:
        raise EmbeddingError(
            f"{container.path.name} is an aesthetic gradient (a mean of picture features), not an "
            "embedding; ComfyUI has no place for it."
        )
    return [Part(vectors)]
