"""One tensor under any key: emb_params (ComfyUI, kohya, Invoke), diffusers' placeholder token."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..embedding import ENCODER_OF_WIDTH, EmbeddingError
from .container import Container

NAME = "single tensor"
KEY = "emb_params"


def detect(container: Container) -> bool:
    """True for exactly one tensor of one or two dimensions."""
    if isinstance(container.data, torch.Tensor):
        return container.data.dim() in (1, 2)
    tensors = list(container.tensors.values())
    return len(tensors) == 1 and tensors[0].dim() in (1, 2)


def read(container: Container) -> dict[str, torch.Tensor]:
    """The vectors under the encoder key that their width decides."""
    data = container.data
    rows = data if isinstance(data, torch.Tensor) else next(iter(container.tensors.values()))
    return by_width(container, rows)


def write(vectors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """The table of tensors to store, or None where the width would not decide the encoder."""
    ((encoder, rows),) = vectors.items() if len(vectors) == 1 else ((None, torch.empty(0)),)
    return {KEY: rows} if ENCODER_OF_WIDTH.get(rows.shape[-1]) == encoder else None


def by_width(container: Container, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Vectors by encoder key for a tensor [n, d] or [d]; SDXL's joined 2048 columns are parted."""
    width = rows.shape[-1]
    if width == 768 + 1280:
        return {"clip_l": rows[..., :768], "clip_g": rows[..., 768:]}
    if width not in ENCODER_OF_WIDTH:
        known = ", ".join(f"{width} ({key})" for key, width in _known_widths())
        raise EmbeddingError(
            f"{container.path.name} has vectors {width} wide and does not say for which text "
            f"encoder; without that, only {known} are understood."
        )
    return {ENCODER_OF_WIDTH[width]: rows}


def _known_widths() -> list[tuple[str, int]]:
    return [(key, width) for width, key in ENCODER_OF_WIDTH.items()]
