"""Equal pulls: every picture of a step turns the word alike, however loud its error is.

The gradient in a picture's text context grows with the error's size, which depends on the noise
level far more than on what the word could explain: in a plain mean the few quiet timesteps drown
the rest. Dividing each picture's gradient by its own length before the mean is normalised
gradient descent (Cortes 2006; Hazan et al., arXiv 1507.02030), taken picture by picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

SMALLEST = 1e-30


def lengths(pulls: Sequence[torch.Tensor]) -> torch.Tensor:
    """The L2 norm ``[B]`` of each picture's rows over all of ``pulls`` ``[B, ...]``, float32."""
    squares = [each.float().flatten(1).square().sum(dim=1) for each in pulls]
    return torch.stack(squares).sum(dim=0).sqrt()


def equalised(
    pulls: Sequence[torch.Tensor], length: torch.Tensor, weights: torch.Tensor | None
) -> list[torch.Tensor]:
    """``pulls`` ``[B, ...]`` with every picture's scaled to the mean ``length`` ``[B]``.

    ``weights`` ``[B]`` are those that the loss gives the timesteps; they go on counting.
    """
    factor = length.mean() / length.clamp_min(SMALLEST)
    if weights is not None:
        factor = factor * weights
    return [
        (each.float() * factor.view(-1, *[1] * (each.ndim - 1))).to(each.dtype) for each in pulls
    ]
