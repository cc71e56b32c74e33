"""The original textual inversion repository's .pt: a ParameterDict of one or more placeholders."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..embedding import EmbeddingError
from .container import Container, Part
from .string_to_param import has_table, parts

LABEL = "original textual inversion .pt"
SUFFIX = ".pt"


def detect(container: Container) -> bool:
    """True for a table 'string_to_param' whose tokens are tensors, or that has no name."""
    if not has_table(container) or not isinstance(container.data, Mapping):
        return False
    tokens = container.data.get("string_to_token")
    as_tensors = isinstance(tokens, Mapping) and any(
        isinstance(token, torch.Tensor) for token in tokens.values()
    )
    return as_tensors or "name" not in container.data


def read(container: Container) -> list[Part]:
    """An embedding for every placeholder."""
    found = parts(container)
    if not found:
        raise EmbeddingError(f"{container.path.name} holds 0 placeholders.")
    return found
