"""Masks that say what of a picture counts, brought to the size of its latents."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional


def latent_mask(mask: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """A mask ``[H, W]`` of weights as ``[h, w]`` with a mean of 1.

    A latent counts as much as the average of the pixels it stands for, and a picture counts as
    much as any other however small its mask is (Break-A-Scene, arXiv 2305.16311).
    """
    small = functional.adaptive_avg_pool2d(mask.float()[None, None], tuple(size))[0, 0]
    return small / small.mean().clamp_min(1e-6)
