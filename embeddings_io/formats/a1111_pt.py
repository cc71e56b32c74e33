"""AUTOMATIC1111's table with 'string_to_param', also the original textual inversion's."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .. import metadata as keys
from ..embedding import EmbeddingError
from .container import Container
from .single_tensor import by_width

NAME = "A1111 .pt"


def detect(container: Container) -> bool:
    """True if the top level has 'string_to_param'."""
    return isinstance(container.data, Mapping) and "string_to_param" in container.data


def read(container: Container) -> dict[str, torch.Tensor]:
    """The vectors of the file's one placeholder."""
    table = container.data["string_to_param"] if isinstance(container.data, Mapping) else None
    tensors = (
        [rows for rows in table.values() if isinstance(rows, torch.Tensor)]
        if isinstance(table, Mapping)
        else []
    )
    if len(tensors) != 1:
        raise EmbeddingError(
            f"{container.path.name} holds {len(tensors)} placeholders where one embedding has "
            "exactly one."
        )
    return by_width(container, tensors[0])


def describe(container: Container) -> dict[str, str]:
    """Steps, checkpoint and its short hash, where the trainer noted them."""
    data = container.data if isinstance(container.data, Mapping) else {}
    noted = {
        keys.STEPS: data.get("step"),
        keys.BASE_MODEL: data.get("sd_checkpoint_name"),
        keys.BASE_MODEL_HASH: data.get("sd_checkpoint"),
    }
    return {key: str(value) for key, value in noted.items() if isinstance(value, (str, int))}
