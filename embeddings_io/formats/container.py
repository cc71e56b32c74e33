"""What a file holds before anyone has decided which format it is, and what a format makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True)
class Container:
    """The plain content of one file: tensors by key, or the nested tables of a torch file.

    `data` of a safetensors file is always a flat table of tensors. Where only a description is
    wanted, the tensors are on torch's meta device: they have shapes and no values.
    """

    path: Path
    data: object
    metadata: Mapping[str, str] = field(default_factory=dict)
    kind: str = "torch"

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors at the top level; empty where the top level is no table."""
        if not isinstance(self.data, Mapping):
            return {}
        return {
            str(key): value for key, value in self.data.items() if isinstance(value, torch.Tensor)
        }


@dataclass(frozen=True)
class Part:
    """One embedding of a file: vectors [n, d] or [d] by encoder key, and what is said about it.

    `placeholder` is the word that the trainer put into its prompts, if the file says it.
    """

    vectors: dict[str, torch.Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    placeholder: str = ""
