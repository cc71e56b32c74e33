"""The recipe refuses nonsense by name, and schedules read as written."""

from __future__ import annotations

import itertools
import math

import pytest

from textual_inversion.training.recipe import Recipe, RecipeError, default, knobs
from textual_inversion.training.schedules import parse_schedule, warmup_cosine, written


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", -5),
        ("learning_rate", math.nan),
        ("learning_rate", -0.1),
        ("learning_rate", 5.0),
        ("num_vectors", 0),
        ("num_vectors", 76),
        ("batch_size", 0),
        ("kind", "animal"),
        ("loss", "l3"),
        ("momentum", 1.0),
        ("seed", -1),
        ("steps", 10.5),
        ("flip", "sideways"),
        ("learning_rate_schedule", "fast"),
    ],
)
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(RecipeError, match=name):
        Recipe(**{name: value})


def test_timesteps_must_be_a_range():
    with pytest.raises(RecipeError, match="timestep_from"):
        Recipe(timestep_from=0.9, timestep_to=0.2)


def test_a_rate_for_the_sphere_is_refused_for_adamw():
    with pytest.raises(RecipeError, match="adamw"):
        Recipe(optimizer="adamw", learning_rate=0.9)


def test_an_unknown_knob_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"lerning_rate.*learning_rate"):
        Recipe().changed(lerning_rate=0.1)


def test_every_knob_explains_itself_and_accepts_its_default():
    for name, knob in knobs().items():
        assert knob.prose.endswith(".") and len(knob.prose) > 30, name
        if isinstance(default(name), (int, float)) and not isinstance(default(name), bool):
            assert knob.minimum is not None and knob.maximum is not None, name
            assert knob.minimum <= default(name) <= knob.maximum, name


def test_the_recipe_survives_as_plain_values():
    recipe = Recipe(steps=7, learning_rate=0.03)
    assert Recipe(**recipe.as_dict()) == recipe


def test_warmup_rises_then_the_cosine_falls_to_its_share():
    rate = warmup_cosine(0.02, 100, 10, 0.1)
    rates = [rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.02 / 11)
    assert all(a < b for a, b in itertools.pairwise(rates[:11]))
    assert max(rates) == pytest.approx(0.02) and rates.index(max(rates)) == 10
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.002)


def test_a_written_schedule_holds_each_rate_until_its_step():
    rate = written("5e-3:100, 1e-3:1000, 5e-4")
    assert [rate(step) for step in (0, 99, 100, 999, 1000, 10**6)] == [
        5e-3,
        5e-3,
        1e-3,
        1e-3,
        5e-4,
        5e-4,
    ]
    assert written("0.01:5")(50) == 0.01


@pytest.mark.parametrize(
    "text", ["", "a", "1e-3:b", "1e-3:100, 1e-4:50", "1e-3, 1e-4", "-1:10", "nan:5", "inf"]
)
def test_an_unreadable_schedule_is_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_schedule(text)
