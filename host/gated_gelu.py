"""GEGLU layers that keep their projection alone for the backward pass.

value * gelu(gate) keeps gelu(gate) beside both of its factors, half as much again as they are;
computing it a second time costs next to nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as functional
from comfy.ldm.modules.attention import GEGLU
from torch.autograd.function import once_differentiable


@contextlib.contextmanager
def thrifty_gelus(network: torch.nn.Module) -> Iterator[None]:
    """Inside, no GEGLU of ``network`` keeps more than its projection.

    Results and gradients are those of the plain layer, by the same kernels. While they are
    compiled the layers stay as they are.
    """
    changed = [each for each in network.modules() if _is_ordinary(each)]
    try:
        for layer in changed:
            layer.forward = _keeping_less(layer)
        yield
    finally:
        for layer in changed:
            layer.__dict__.pop("forward", None)


class GatedGelu(torch.autograd.Function):
    """value * gelu(gate) of ``[..., 2 n]``, value before gate; differentiable once."""

    @staticmethod
    def forward(ctx: Any, projected: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(projected)
        value, gate = projected.chunk(2, dim=-1)
        return value * functional.gelu(gate)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (projected,) = ctx.saved_tensors
        value, gate = projected.chunk(2, dim=-1)
        of_value = gradient * functional.gelu(gate)
        return torch.cat([of_value, torch.ops.aten.gelu_backward(gradient * value, gate)], dim=-1)


def _is_ordinary(module: torch.nn.Module) -> bool:
    return type(module) is GEGLU and "forward" not in vars(module)


def _keeping_less(layer: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    plain = layer.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x.requires_grad):
            return plain(x)
        return GatedGelu.apply(layer.proj(x))

    return forward
