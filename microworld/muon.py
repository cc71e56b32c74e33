"""Muon: momentum whose matrices are orthogonalised before use (Jordan et al., 2024)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, by Newton-Schulz iterations of a quintic polynomial.

    The iterations run on the small Gram matrix G = X X^T: X becomes P X, G becomes P G P.
    """
    a, b, c = _QUINTIC
    x = matrix / (matrix.norm() + 1e-7)
    wide = x if x.shape[0] <= x.shape[1] else x.T
    gram = wide @ wide.T
    unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    product = unit
    for i in range(iterations):
        polynomial = a * unit + b * gram + c * (gram @ gram)
        product = polynomial @ product
        if i + 1 < iterations:
            gram = polynomial @ gram @ polynomial
    wide = product @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """For hidden weight matrices only; a convolution's kernel counts as one wide matrix.

    The update's root mean square is 0.2 * lr per element, as a typical Adam step's.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.02,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                momentum.mul_(group["momentum"]).add_(parameter.grad)
                direction = parameter.grad.add(momentum, alpha=group["momentum"]).flatten(1)
                update = orthogonalised(direction) * (0.2 * max(direction.shape) ** 0.5)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update.view_as(parameter), alpha=-group["lr"])
