"""Attention that gradients pass through, in the place of whatever the host would use."""

from __future__ import annotations

from typing import Any

import comfy.ldm.modules.attention as attention
import torch


def trainable_attention(function: Any, *arguments: Any, **options: Any) -> torch.Tensor:
    """An attention override: the fused attention of PyTorch instead of ``function``."""
    return attention.attention_pytorch(*arguments, **options)
