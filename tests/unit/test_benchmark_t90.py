"""T90 and the intervals of the benchmark."""

from __future__ import annotations

import math
import random

import pytest

from textual_inversion.benchmarks.t90 import paired, t90


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ((0.0, 0.45, 0.9, 1.0), 200.0),  # at a mark
        ((0.0, 0.45, 0.8, 1.0), 200 * 2**0.5),  # half way up between two marks
        ((0.0, 1.8, 1.8, 1.8), 50.0),  # on the way to the first mark
        ((0.95, 0.2, 0.2, 0.2), 0.0),  # good from the start
        ((0.0, 0.5, 0.6, 0.89), None),
    ],
)
def test_t90_is_where_the_curve_first_reaches_nine_tenths(heights, expected):
    found = t90(list(zip((0, 100, 200, 400), heights, strict=True)), oracle=1.0)
    assert found == (None if expected is None else pytest.approx(expected))


def test_the_interval_of_pairs_covers_the_mean_and_narrows_with_their_number():
    chooser = random.Random(1)

    def made(concepts: int) -> dict[tuple[str, int], float]:
        return {
            (str(concept), seed): chooser.gauss(1.0, 0.5)
            for concept in range(concepts)
            for seed in range(3)
        }

    few, many = paired(made(4)), paired(made(100))
    assert few.low < few.value < few.high
    assert many.low < 1.0 < many.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_a_mean_of_logarithms_is_told_as_a_ratio():
    found = paired({("a", 0): math.log(2), ("b", 0): math.log(8)}, math.exp)
    assert found.value == pytest.approx(4)
    assert (found.low, found.high) == pytest.approx((2, 8))
