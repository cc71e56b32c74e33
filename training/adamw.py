"""Free-norm AdamW (arXiv 1711.05101) on the vectors alone, for old recipes and comparison."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .sphere import averaging_decay, weight_so_far


class AdamW:
    """AdamW over ``[n, d]`` vectors, betas 0.9 and 0.999, eps 1e-8; no table is involved."""

    def __init__(self, initial: torch.Tensor, *, weight_decay: float, averaging: float) -> None:
        self.weight_decay = weight_decay
        self.averaging = averaging
        self.value = initial.float().clone()
        self.first = torch.zeros_like(self.value)
        self.second = torch.zeros_like(self.value)
        self.average = torch.zeros_like(self.value)
        self.count = torch.zeros((), device=self.value.device)

    def vectors(self) -> torch.Tensor:
        """The current vectors ``[n, d]``."""
        return self.value

    def averaged(self) -> torch.Tensor:
        """The average of the vectors over the latest share of the steps."""
        if self.averaging == 0 or int(self.count) == 0:
            return self.value
        return self.average

    def step(self, gradient: torch.Tensor, rate: float) -> None:
        """One AdamW update with dL/dv ``[n, d]``."""
        self.count = self.count + 1
        b1, b2 = 0.9, 0.999
        g = gradient.float()
        self.first = b1 * self.first + (1 - b1) * g
        self.second = b2 * self.second + (1 - b2) * g.square()
        first = self.first / weight_so_far(b1, self.count)
        second = self.second / weight_so_far(b2, self.count)
        decayed = self.value * (1 - rate * self.weight_decay)
        self.value = decayed - rate * first / (second.sqrt() + 1e-8)
        decay = averaging_decay(self.averaging, self.count)
        self.average = decay * self.average + (1 - decay) * self.value

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that a bit-exact continuation needs."""
        return {
            "value": self.value,
            "first": self.first,
            "second": self.second,
            "average": self.average,
            "count": self.count,
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from :meth:`state_dict`."""
        for name, value in state.items():
            setattr(self, name, value.to(self.value.device, copy=True))
