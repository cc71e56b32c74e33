"""What a microworld trainer keeps on disk, so that a stopped run goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn


def save(
    path: Path,
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    average: dict[str, Tensor] | None = None,
    *,
    step: int,
    spent: float,
) -> None:
    """Writes weights, optimisers and averages after `step` steps and `spent` seconds, at once."""
    part = path.with_suffix(".part")
    state = {
        "model": model.state_dict(),
        "optimisers": [each.state_dict() for each in optimisers],
        "average": average or {},
        "step": step,
        "spent": spent,
    }
    torch.save(state, part)
    os.replace(part, path)


def restore(
    path: Path,
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    average: dict[str, Tensor] | None = None,
) -> tuple[int, float]:
    """Puts back what `save` wrote and gives its step and seconds; (0, 0.0) where nothing lies."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
        optimiser.load_state_dict(saved)
    for name, mean in (average or {}).items():
        mean.copy_(state["average"][name])
    return state["step"], state["spent"]
