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
    best_step: int = 0


@dataclasses.dataclass(frozen=True)
class Snapshotted:
    """It is time to keep these vectors (float32, on the CPU): the average of the latest steps."""

    step: int
    vectors: Vectors


@dataclasses.dataclass(frozen=True)
class Resumable:
    """``state_dict()`` taken now continues exactly here."""

    step: int


@dataclasses.dataclass(frozen=True)
class RolledBack:
    """The loss was no number, so the run went back and goes on at ``rate_factor`` of the rate."""

    step: int
    rate_factor: float


@dataclasses.dataclass(frozen=True)
class SteppedDown:
    """Memory ran out, so the run goes on in a way that needs less; ``how`` says which."""

    step: int
    how: str


@dataclasses.dataclass(frozen=True)
class Previewed:
    """It is time for a preview picture of these vectors."""

    step: int
    vectors: Vectors


@dataclasses.dataclass(frozen=True)
class Finished:
    """The run ended; ``reason`` is 'steps', 'plateau', 'diverged' or 'no numbers'."""

    step: int
    reason: str
    vectors: Vectors
    best_step: int
    initial_loss: float
    best_loss: float


Event = Stepped | Probed | Snapshotted | Resumable | RolledBack | SteppedDown | Previewed | Finished
