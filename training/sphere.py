"""Steps on the sphere: a vector is m * u, ``|u| = 1``, and only the direction u moves.

After Directional Textual Inversion (arXiv 2512.13672), with momentum and a step that follows
the geodesic, so that the learning rate is an angle in radians.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

EPSILON = 1e-12


def unit(x: torch.Tensor) -> torch.Tensor:
    """Each row of ``[n, d]`` divided by its length."""
    length: torch.Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / length.clamp_min(EPSILON)


def tangent(g: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The part of ``g`` orthogonal to ``u``: g - <g, u> u, row by row."""
    return g - (g * u).sum(dim=-1, keepdim=True) * u


def retract(u: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Walk from ``u`` along the geodesic of tangent ``step``; its length is the angle."""
    angle = step.norm(dim=-1, keepdim=True)
    return unit(torch.cos(angle) * u + torch.sin(angle) * step / angle.clamp_min(EPSILON))


def angle_between(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The angle between the rows of ``a`` and ``b``, in radians; exact for small ones too."""
    a, b = unit(a), unit(b)
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))


def weight_so_far(decay: float, count: torch.Tensor) -> torch.Tensor:
    """1 - decay^count: how much of an average that began at zero is there after ``count`` values.

    An average divided by it is unbiased (Adam, arXiv 1412.6980, 3).
    """
    if decay == 0:
        return torch.ones_like(count)
    return -torch.expm1(count * math.log(decay))


def averaging_decay(share: float, count: torch.Tensor) -> torch.Tensor:
    """The decay of an average over about the latest ``share`` of ``count`` steps.

    An exponential average of decay b looks back about 2 / (1 - b) steps; this b rises with the
    count, from 0, so that early averages don't lag and late ones are as smooth as asked for.
    """
    return 1 - 1 / (0.5 * share * count).clamp_min(1.0)


class SphereOptimizer:
    """Riemannian descent for ``[n, d]`` vectors of fixed norm.

    A step: g = tangent(m dL/dv) is divided by the root of an average of ``|g|^2`` over
    ``gradient_averaging``; ``prior`` times the tangent toward the initial direction mu is taken
    off, so that the prior is a share of the usual gradient, whatever the loss's scale; momentum
    averages the result, re-projected on the tangent; u turns against it by ``rate`` radians times
    the average's length, at most one.
    """

    def __init__(
        self,
        initial: torch.Tensor,
        norm: float,
        *,
        momentum: float,
        gradient_averaging: float,
        prior: float,
        averaging: float,
    ) -> None:
        self.norm = norm
        self.momentum = momentum
        self.gradient_averaging = gradient_averaging
        self.prior = prior
        self.averaging = averaging
        self.direction = unit(initial.float())
        self.prior_direction = self.direction.clone()
        self.velocity = torch.zeros_like(self.direction)
        self.squared = torch.zeros_like(self.direction[:, :1])
        self.average = torch.zeros_like(self.direction)
        self.count = torch.zeros((), device=self.direction.device)

    def vectors(self) -> torch.Tensor:
        """The current vectors ``[n, d]``."""
        return self.norm * self.direction

    def averaged(self) -> torch.Tensor:
        """The vectors at the average direction of the latest share of the steps."""
        if self.averaging == 0 or int(self.count) == 0:
            return self.vectors()
        return self.norm * unit(self.average)

    def step(self, gradient: torch.Tensor, rate: float) -> None:
        """Turn the vectors against ``gradient`` (dL/dv, ``[n, d]``) by at most ``rate`` rad."""
        self.count = self.count + 1
        u = self.direction
        g = tangent(self.norm * gradient.float(), u)
        b2 = self.gradient_averaging
        self.squared = b2 * self.squared + (1 - b2) * g.square().sum(dim=-1, keepdim=True)
        size = (self.squared / weight_so_far(b2, self.count)).sqrt()
        g = g / size.clamp_min(EPSILON) - self.prior * tangent(self.prior_direction, u)
        self.velocity = self.momentum * tangent(self.velocity, u) + (1 - self.momentum) * g
        step = self.velocity / weight_so_far(self.momentum, self.count)
        step = step / step.norm(dim=-1, keepdim=True).clamp_min(1.0)
        self.direction = retract(u, -rate * step)
        decay = averaging_decay(self.averaging, self.count)
        self.average = decay * self.average + (1 - decay) * self.direction

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that a bit-exact continuation needs."""
        return {
            "direction": self.direction,
            "prior_direction": self.prior_direction,
            "velocity": self.velocity,
            "squared": self.squared,
            "average": self.average,
            "count": self.count,
        }

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Continue from :meth:`state_dict`."""
        for name, value in state.items():
            setattr(self, name, value.to(self.direction.device, copy=True))
