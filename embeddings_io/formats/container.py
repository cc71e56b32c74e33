"""What a file holds before anyone has decided which format it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True)
class Container:
    """The plain content of one file: tensors by key, or the nested tables of a torch file.

    `data` of a safetensors file is always a flat table of tensors.
    """

    path: Path
    data: object
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors at the top level; empty where the top level is no table."""
        if not isinstance(self.data, Mapping):
            return {}
        return {
            str(key): value for key, value in self.data.items() if isinstance(value, torch.Tensor)
        }
