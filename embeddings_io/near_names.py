"""Names that a person may have meant by one that is not there."""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable

LIKE_ENOUGH = 0.6
_COMPARED = 60


def near_names(wanted: str, names: Iterable[str], count: int = 3) -> list[str]:
    """At most `count` of `names`, the nearest first; case and sub-folders may differ.

    Names that share most pairs of letters are compared closely (Ratcliff and Obershelp's ratio,
    at least 0.6); then come those that `wanted` is the beginning of.
    """
    wanted = wanted.casefold()
    by_fold: dict[str, str] = {}
    begun: list[str] = []
    for name in names:
        for fold in {name.casefold(), name.rpartition("/")[2].casefold()}:
            by_fold.setdefault(fold, name)
            if len(wanted) > 1 and fold.startswith(wanted):
                begun.append(fold)
    pairs = _pairs(wanted)
    alike = ((_shared(pairs, fold), fold) for fold in by_fold if _could_match(wanted, fold))
    closest = [fold for shared, fold in heapq.nlargest(_COMPARED, alike) if shared]
    near = difflib.get_close_matches(wanted, closest, n=2 * count, cutoff=LIKE_ENOUGH)
    return list(dict.fromkeys(by_fold[fold] for fold in [*near, *begun]))[:count]


def _could_match(wanted: str, fold: str) -> bool:
    shorter, longer = sorted((len(wanted), len(fold)))
    return 2 * shorter >= LIKE_ENOUGH * (shorter + longer)


def _pairs(text: str) -> set[str]:
    padded = f" {text} "
    return {padded[i : i + 2] for i in range(len(padded) - 1)}


def _shared(pairs: set[str], fold: str) -> float:
    others = _pairs(fold)
    return 2 * len(pairs & others) / (len(pairs) + len(others))
