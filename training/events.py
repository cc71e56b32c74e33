"""What a run tells the outside, in the order it happens."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

Vectors = Mapping[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Stepped:
    """One optimizer step was made. ``loss`` is None between two read-outs from the device."""

    step: int
    steps: int
    loss: float | None
    rate: float


@dataclasses.dataclass(frozen=True)
class Probed:
    """The probe bank was measured after ``step`` steps; ``loss`` is its mean."""

    step: int
    loss: float
    initial_loss: float
    best_loss: float


@dataclasses.dataclass(frozen=True)
class Snapshotted:
    """A new best: these vectors (float32, on the CPU) are what would be saved now."""

    step: int
    loss: float
    vectors: Vectors


@dataclasses.dataclass(frozen=True)
class Previewed:
    """It is time for a preview picture of these vectors."""

    step: int
    vectors: Vectors


@dataclasses.dataclass(frozen=True)
class Finished:
    """The run ended; ``reason`` is 'steps' or 'plateau'."""

    step: int
    reason: str
    vectors: Vectors
    best_step: int
    initial_loss: float
    best_loss: float


Event = Stepped | Probed | Snapshotted | Previewed | Finished
