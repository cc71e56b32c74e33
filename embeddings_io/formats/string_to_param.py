"""The table of placeholders that A1111 and the original trainer share."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .. import metadata as keys
from .container import Container, Part
from .widths import by_width, is_vectors

KEY = "string_to_param"


def has_table(container: Container) -> bool:
    """True if the top level has a table 'string_to_param'."""
    return isinstance(container.data, Mapping) and isinstance(container.data.get(KEY), Mapping)


def placeholders(container: Container) -> dict[str, torch.Tensor]:
    """The vectors by placeholder."""
    table = container.data.get(KEY) if isinstance(container.data, Mapping) else None
    table = table if isinstance(table, Mapping) else {}
    return {str(key): rows for key, rows in table.items() if is_vectors(rows)}


def parts(container: Container) -> list[Part]:
    """An embedding for every placeholder, with what the trainer noted."""
    noted = notes(container)
    return [
        Part(by_width(container, rows), dict(noted), placeholder)
        for placeholder, rows in placeholders(container).items()
    ]


def notes(container: Container) -> dict[str, str]:
    """Steps, checkpoint and its short hash, and the metadata that this pack adds to the table."""
    data = container.data if isinstance(container.data, Mapping) else {}
    noted = {
        keys.STEPS: data.get("step"),
        keys.BASE_MODEL: data.get("sd_checkpoint_name"),
        keys.BASE_MODEL_HASH: data.get("sd_checkpoint"),
    }
    texts = {key: str(value) for key, value in noted.items() if isinstance(value, (str, int))}
    own = data.get("metadata")
    if isinstance(own, Mapping):
        texts |= {str(key): value for key, value in own.items() if isinstance(value, str)}
    return texts | dict(container.metadata)


def noted(embedding_name: str, metadata: Mapping[str, str]) -> dict[str, object]:
    """A1111's entries beside its vectors: name, step, checkpoint, and all of the metadata."""
    steps = metadata.get(keys.STEPS, "")
    return {
        "name": embedding_name,
        "step": int(steps) if steps.isascii() and steps.isdigit() and len(steps) < 12 else None,
        "sd_checkpoint": metadata.get(keys.BASE_MODEL_HASH),
        "sd_checkpoint_name": metadata.get(keys.BASE_MODEL),
        "metadata": keys.retitled(metadata, embedding_name),
    }
