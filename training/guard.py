"""What happens when a loss or gradient is no number: skip, roll back, halve the rate, give up.

Nothing here waits for the device, except :meth:`Guard.is_stuck`, which the loop asks now and then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

BAD_STEPS = 3
"""Steps in a row without numbers, beyond those that lower the loss scale, before a roll back."""
MOST_ROLLBACKS = 3
RATE_AFTER_ROLLBACK = 0.5


class VectorOptimizer(Protocol):
    """What the loop needs of the optimizers; their state holds tensors alone."""

    def vectors(self) -> torch.Tensor: ...
    def averaged(self) -> torch.Tensor: ...
    def step(self, gradient: torch.Tensor, rate: float) -> None: ...
    def state_dict(self) -> dict[str, torch.Tensor]: ...
    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None: ...


class Guard:
    """Steps the optimizers, and keeps steps without numbers from moving anything."""

    def __init__(
        self, optimizers: Mapping[str, VectorOptimizer], loss_scale: float, device: torch.device
    ) -> None:
        self.optimizers = dict(optimizers)
        self.loss_scale = torch.tensor(loss_scale, device=device)
        self.bad_steps = torch.zeros((), dtype=torch.int64, device=device)
        self.patience = BAD_STEPS + max(0, math.ceil(math.log2(max(1.0, loss_scale))))
        self.rate_factor = 1.0
        self.rollbacks = 0
        self.remember()

    def update(
        self, loss: torch.Tensor, gradients: Sequence[torch.Tensor | None], rate: float
    ) -> None:
        """Step every encoder's vectors; where anything is no number, all stays as it was.

        The loss may have been raised too high on its way, so its scale is then halved.
        """
        present = [each for each in gradients if each is not None]
        finite = torch.stack([torch.isfinite(each).all() for each in present]).all()
        finite = finite & torch.isfinite(loss.detach())
        self.bad_steps = torch.where(finite, 0, self.bad_steps + 1)
        lowered = (0.5 * self.loss_scale).clamp_min(1.0)
        self.loss_scale = torch.where(finite, self.loss_scale, lowered)
        for each, gradient in zip(self.optimizers.values(), gradients, strict=True):
            if gradient is None:
                continue
            before = each.state_dict()
            each.step(gradient, self.rate_factor * rate)
            after = each.state_dict()
            each.load_state_dict(
                {name: torch.where(finite, value, before[name]) for name, value in after.items()}
            )

    def remember(self) -> None:
        """This is a state worth returning to."""
        self.good = {key: each.state_dict() for key, each in self.optimizers.items()}

    def is_stuck(self) -> bool:
        """Whether too many steps in a row gave no numbers; waits for the device."""
        return int(self.bad_steps) >= self.patience

    def roll_back(self) -> bool:
        """Return to the last good state at half the rate; False when that was done too often."""
        for key, each in self.optimizers.items():
            each.load_state_dict(self.good[key])
        self.bad_steps = torch.zeros_like(self.bad_steps)
        self.rollbacks += 1
        self.rate_factor *= RATE_AFTER_ROLLBACK
        return self.rollbacks <= MOST_ROLLBACKS

    def state_dict(self) -> dict[str, Any]:
        """Taken right after :meth:`remember`, it needs no copy of the good state."""
        return {
            "loss_scale": float(self.loss_scale),
            "bad_steps": int(self.bad_steps),
            "rate_factor": self.rate_factor,
            "rollbacks": self.rollbacks,
            "optimizers": {key: each.state_dict() for key, each in self.optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.loss_scale = torch.full_like(self.loss_scale, state["loss_scale"])
        self.bad_steps = torch.full_like(self.bad_steps, state["bad_steps"])
        self.rate_factor = state["rate_factor"]
        self.rollbacks = state["rollbacks"]
        for key, each in self.optimizers.items():
            each.load_state_dict(state["optimizers"][key])
        self.remember()
