"""Convolutions that keep their frozen weight alone for the backward pass.

PyTorch keeps a convolution's input as well, which only the gradient of its weight would read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as functional
from torch.autograd.function import once_differentiable

PLAIN = (torch.Tensor, torch.nn.Parameter)


@contextlib.contextmanager
def frozen_convolutions(network: torch.nn.Module) -> Iterator[None]:
    """Inside, no convolution of ``network`` with a frozen weight keeps its input.

    Results and gradients are those of the plain convolution, by the same kernels. Convolutions
    that something else has changed, and all of them while they are compiled, stay as they are.
    """
    changed = [each for each in network.modules() if _is_ordinary(each)]
    try:
        for convolution in changed:
            convolution._conv_forward = _keeping_less(convolution)
        yield
    finally:
        for convolution in changed:
            convolution.__dict__.pop("_conv_forward", None)


class FrozenConvolution(torch.autograd.Function):
    """``conv2d`` of ``[B, C, h, w]``, differentiable once and in its input alone."""

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.layout = (input.shape, input.stride())
        ctx.geometry = (stride, padding, dilation, groups)
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        stand_in = gradient.new_empty_strided(*ctx.layout)  # its layout is read, no value
        found = torch.ops.aten.convolution_backward(
            gradient,
            stand_in,
            weight,
            None,
            stride,
            padding,
            dilation,
            False,
            (0, 0),
            groups,
            (True, False, False),
        )
        return found[0], *(None,) * 6


def _is_ordinary(module: torch.nn.Module) -> bool:
    return (
        isinstance(module, torch.nn.Conv2d)
        and type(module)._conv_forward is torch.nn.Conv2d._conv_forward
        and "_conv_forward" not in vars(module)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _keeping_less(convolution: torch.nn.Conv2d) -> Callable[..., torch.Tensor]:
    plain = convolution._conv_forward

    def forward(
        input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if torch.compiler.is_compiling() or not _input_alone_needs_gradient(input, weight, bias):
            return plain(input, weight, bias)
        return FrozenConvolution.apply(
            input,
            weight,
            bias,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )

    return forward


def _input_alone_needs_gradient(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> bool:
    return (
        torch.is_grad_enabled()
        and input.requires_grad
        and not weight.requires_grad
        and not (bias is not None and bias.requires_grad)
        and type(input) in PLAIN
        and type(weight) in PLAIN
        and input.dim() == 4
        and not _is_cast_on_the_way(input.device.type)
    )


def _is_cast_on_the_way(device: str) -> bool:
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
