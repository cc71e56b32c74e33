"""OneTrainer's emp_params (its own spelling) and its encoder keys t5 and gemma; diffusers' t5."""

from __future__ import annotations

import torch

from .comfyui import ENCODER_KEYS
from .container import Container, Part
from .widths import by_width, is_vectors

LABEL = "OneTrainer safetensors"
SUFFIX = ".safetensors"
KEY = "emp_params"
ALIASES = {"t5": "t5xxl", "gemma": "gemma2_2b"}
"""Its words for ComfyUI's encoder keys."""


def detect(container: Container) -> bool:
    """True for emp_params, or an alias whose ComfyUI key is not there."""
    tensors = container.tensors
    return is_vectors(tensors.get(KEY)) or any(
        alias in tensors and key not in tensors for alias, key in ALIASES.items()
    )


def read(container: Container) -> list[Part]:
    """One embedding, under ComfyUI's encoder keys."""
    vectors = renamed(container.tensors)
    if not vectors:
        vectors = by_width(container, container.tensors[KEY])
    return [Part(vectors, dict(container.metadata))]


def renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Vectors by ComfyUI's keys; where a file has both t5xxl and its alias, t5xxl counts."""
    vectors = {ALIASES[key]: rows for key, rows in tensors.items() if key in ALIASES}
    return vectors | {key: rows for key, rows in tensors.items() if key in ENCODER_KEYS}
