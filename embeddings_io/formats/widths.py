"""Which text encoder a tensor is for when its file does not say."""

from __future__ import annotations

from typing import TypeGuard

import torch

from ..embedding import ENCODER_OF_WIDTH, EmbeddingError
from .container import Container

SDXL = 768 + 1280


def by_width(container: Container, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Vectors by encoder key for a tensor [n, d] or [d]; SDXL's joined 2048 columns are parted."""
    width = rows.shape[-1] if rows.dim() else 0
    if width == SDXL:
        return {"clip_l": rows[..., :768], "clip_g": rows[..., 768:]}
    if width not in ENCODER_OF_WIDTH:
        known = ", ".join(f"{width} ({key})" for width, key in ENCODER_OF_WIDTH.items())
        raise EmbeddingError(
            f"{container.path.name} has vectors {width} wide and does not say for which text "
            f"encoder; without that, only {known} are understood."
        )
    return {ENCODER_OF_WIDTH[width]: rows}


def is_vectors(value: object) -> TypeGuard[torch.Tensor]:
    """True for a tensor that may hold vectors: one or two dimensions."""
    return isinstance(value, torch.Tensor) and value.dim() in (1, 2)
