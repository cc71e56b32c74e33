"""Captions of comma-separated tags: shuffled and thinned out, so that none is learnt by heart."""

from __future__ import annotations

import re

import torch


def vary(
    caption: str,
    *,
    keep: int,
    shuffle: bool,
    dropout: float,
    pinned: re.Pattern[str],
    generator: torch.Generator,
) -> str:
    """``caption`` with its tags after the first ``keep`` shuffled, each dropped with ``dropout``.

    Tags in which ``pinned`` is found keep their place and are never dropped.
    """
    found = [tag.strip() for tag in caption.split(",") if tag.strip()]
    free = [index for index, tag in enumerate(found) if index >= keep and not pinned.search(tag)]
    order = list(free)
    if shuffle:
        order = [free[place] for place in torch.randperm(len(free), generator=generator).tolist()]
    moved = dict(zip(free, order, strict=True))
    chances = (
        torch.rand(len(found), generator=generator).tolist() if dropout else [1.0] * len(found)
    )
    return ", ".join(
        found[moved.get(index, index)]
        for index in range(len(found))
        if index not in moved or chances[index] >= dropout
    )
