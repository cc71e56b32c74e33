"""The plot of a run shows what it says."""

from __future__ import annotations

import math

import numpy
import pytest


@pytest.fixture(scope="module")
def plots(comfyui_path):
    from textual_inversion.nodes import training_plot

    return training_plot


def pixels(image) -> numpy.ndarray:
    return numpy.asarray(image).astype(int)


def near(image, color) -> numpy.ndarray:
    return numpy.argwhere(numpy.abs(pixels(image) - numpy.array(color)).max(axis=-1) < 40)


def curve(count=41):
    return [(10 * index, 0.2 + 0.3 * math.exp(-index / 8)) for index in range(count)]


def difficulty(source, agreement):
    from textual_inversion.training.difficulty import PictureDifficulty

    return PictureDifficulty(source, 50, 1.0, agreement)


def test_a_falling_curve_falls(plots):
    image = plots.Plot("word", curve(), [], 400).draw()
    assert image.size == (plots.WIDTH, plots.HEIGHT)
    blue = near(image, plots.CURVE)
    left = blue[(blue[:, 1] > 90) & (blue[:, 1] < 120) & (blue[:, 0] > plots.TOP)][:, 0].mean()
    right = blue[(blue[:, 1] > 850) & (blue[:, 0] > plots.TOP)][:, 0].mean()
    assert right - left > 200
    marked = near(image, plots.BEST)
    assert len(marked) > 30 and marked[:, 1].max() > 900


def test_the_odd_picture_has_a_bar_of_its_own_color(plots):
    shown = [difficulty(0, 0.3), difficulty(1, 0.05), difficulty(2, 0.32)]
    image = plots.Plot("word", curve(), [], 0, shown, frozenset({1})).draw()
    assert image.size[1] > plots.HEIGHT
    assert len(near(image, plots.ODD)) > 20
    plain = plots.Plot("word", curve(), [], 0, shown).draw()
    assert len(near(plain, plots.ODD)) <= 5  # where curves cross, a pixel may blend into it


@pytest.mark.parametrize("points", [[(0, 0.5)], [(0, 0.5), (10, 0.5)], [(0, 0.0), (1, 1e9)]])
def test_any_curve_can_be_drawn(plots, points):
    assert plots.Plot("w", points, [(1, math.inf)], 0).draw().size[0] == plots.WIDTH


@pytest.mark.parametrize(("low", "high"), [(0.21, 0.52), (0, 400), (1e-7, 3e-7), (5, 5)])
def test_ticks_are_few_round_and_enclose(plots, low, high):
    ticks = plots.nice_ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high - 1e-12 and 2 <= len(ticks) <= 8
