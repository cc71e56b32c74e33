"""The words of the token table that point the way a vector does."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .sphere import unit

ROWS_AT_ONCE = 8192


@torch.no_grad()
def nearest_rows(
    table: torch.Tensor, vectors: torch.Tensor, count: int
) -> list[list[tuple[int, float]]]:
    """(row number, cosine) of the ``count`` rows nearest to each vector, nearest first.

    ``table`` ``[V, d]`` of any float type is read in pieces, so no second table is made.
    """
    wanted = unit(vectors.detach().float().to(table.device))
    pieces = [
        unit(table[start : start + ROWS_AT_ONCE].detach().float()) @ wanted.T
        for start in range(0, table.shape[0], ROWS_AT_ONCE)
    ]
    cosines, rows = torch.cat(pieces).topk(min(count, table.shape[0]), dim=0)
    return [
        list(zip(rows[:, index].tolist(), cosines[:, index].tolist(), strict=True))
        for index in range(wanted.shape[0])
    ]


def sentence(words: Sequence[tuple[str, float]], norm: float, usual: float) -> str:
    """'norm 0.38 (words 0.39); near dog 0.71, puppy 0.64'."""
    near = ", ".join(f"{word} {cosine:.2f}" for word, cosine in words)
    return f"norm {norm:.2f} (words {usual:.2f}); near {near}"
