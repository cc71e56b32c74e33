"""Attention that gradients pass through, in the place of whatever the host would use."""

from __future__ import annotations

from typing import Any

import comfy.ldm.modules.attention as attention
import torch

LARGEST_CPU_SCORES = 2**20


def trainable_attention(function: Any, q: torch.Tensor, *arguments: Any, **options: Any) -> Any:
    """An attention override: the host's plain attention instead of ``function``.

    On a CPU small attention is fastest as two matrix products, whose backward is cheap too.
    """
    keys = arguments[0]
    if q.device.type == "cpu" and q.shape[-2] * keys.shape[-2] <= LARGEST_CPU_SCORES:
        return attention.attention_basic(q, *arguments, **options)
    return attention.attention_pytorch(q, *arguments, **options)
