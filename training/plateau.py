"""When to stop: the probe curve neither varies nor falls any more, or it has run away."""

from __future__ import annotations

import math
from collections.abc import Sequence

VARIANCE_RATIO = 0.15
WINDOW_SHARE = 0.4
LEAST_WINDOW = 8
RUN_AWAY = 1.1
PROBES_AWAY = 6


def has_plateaued(curve: Sequence[float]) -> bool:
    """True when the last 40 % of the probe curve is flat.

    Flat means both: Var(window) / Var(all) < 0.15 (DVAR, arXiv 2302.04841), and the window's
    least-squares slope is not significantly below zero (t > -1.64).
    """
    window = max(LEAST_WINDOW, math.ceil(WINDOW_SHARE * len(curve)))
    if len(curve) < 2 * window:
        return False
    last = curve[-window:]
    overall = _variance(curve)
    if overall == 0:
        return True
    return _variance(last) / overall < VARIANCE_RATIO and _slope_t(last) > -1.64


def has_diverged(curve: Sequence[float]) -> bool:
    """True when the last six probes are all a tenth or more above the first, the start's."""
    last = curve[1:][-PROBES_AWAY:]
    return len(last) == PROBES_AWAY and min(last) > RUN_AWAY * curve[0]


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)


def _slope_t(values: Sequence[float]) -> float:
    """The t statistic of the slope of ``values`` over their index."""
    count = len(values)
    middle = (count - 1) / 2
    mean = sum(values) / count
    spread = sum((index - middle) ** 2 for index in range(count))
    slope = sum((index - middle) * (value - mean) for index, value in enumerate(values)) / spread
    error = sum(
        (value - mean - slope * (index - middle)) ** 2 for index, value in enumerate(values)
    )
    deviation = math.sqrt(error / max(1, count - 2) / spread)
    if deviation == 0:
        return 0.0 if slope == 0 else math.copysign(math.inf, slope)
    return slope / deviation
