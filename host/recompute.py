"""Blocks of the diffusion network that keep their input alone and compute the rest twice.

For where memory is short (arXiv 1604.06174). The result is the same but for rounding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from comfy.ldm.modules.attention import BasicTransformerBlock
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock
from torch.utils.checkpoint import checkpoint

RECOMPUTED = (BasicTransformerBlock, ResBlock)


@contextlib.contextmanager
def recomputed_blocks(network: torch.nn.Module) -> Iterator[None]:
    """Inside, the transformer and residual blocks of ``network`` recompute in the backward."""
    blocks = [each for each in network.modules() if isinstance(each, RECOMPUTED)]
    before = [each.__dict__.get("forward") for each in blocks]
    for block in blocks:
        block.forward = _recomputed(block.forward)
    try:
        yield
    finally:
        for block, forward in zip(blocks, before, strict=True):
            if forward is None:
                del block.__dict__["forward"]
            else:
                block.forward = forward


def _recomputed(forward: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def inside(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        return forward(x.clone(), *arguments, **options)

    def outside(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            return forward(x, *arguments, **options)
        if "transformer_options" in options:  # blocks write their own number into it
            options["transformer_options"] = dict(options["transformer_options"])
        return checkpoint(
            inside, x, *arguments, use_reentrant=False, preserve_rng_state=False, **options
        )

    return outside
