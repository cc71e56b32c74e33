"""T90 of runs, and bootstrap intervals of paired differences."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SHARE = 0.9
RESAMPLES = 4000


def t90(curve: Sequence[tuple[int, float]], oracle: float) -> float | None:
    """Pictures seen when H first reaches 90 % of the oracle's; None where it never does.

    Between two marks H is taken as straight over log2 of the pictures, over the pictures
    themselves from the start to the first mark.
    """
    goal = SHARE * oracle
    for (before, low), (after, high) in itertools.pairwise(curve):
        if low >= goal:
            return float(before)
        if high >= goal:
            part = (goal - low) / (high - low)
            if before == 0:
                return part * after
            return before * (after / before) ** part
    last, height = curve[-1]
    return float(last) if height >= goal else None


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def paired(
    differences: dict[tuple[str, int], float], link: Callable[[float], float] = lambda x: x
) -> Interval:
    """The mean of paired differences by (concept, seed), resampled by concepts, then by seeds.

    ``link`` turns the mean into what is told, ``math.exp`` a mean of logarithms into a ratio.
    """
    chooser = random.Random(0)
    by_concept: dict[str, list[float]] = {}
    for (concept, _), value in differences.items():
        by_concept.setdefault(concept, []).append(value)
    names = list(by_concept)
    means = []
    for _ in range(RESAMPLES):
        drawn: list[float] = []
        for name in chooser.choices(names, k=len(names)):
            drawn += chooser.choices(by_concept[name], k=len(by_concept[name]))
        means.append(sum(drawn) / len(drawn))
    means.sort()
    mean = sum(differences.values()) / len(differences)
    low, high = means[int(0.025 * RESAMPLES)], means[math.ceil(0.975 * RESAMPLES) - 1]
    return Interval(link(mean), link(low), link(high))
