"""Presets fill in, the slider moves, and the linter names what cannot work."""

from __future__ import annotations

import pytest

from textual_inversion.training.linter import lint
from textual_inversion.training.presets import PRESETS, filled_in, moved_to, summary
from textual_inversion.training.recipe import Recipe, RecipeError
from textual_inversion.training.schedules import written

CLIP_L = {"norm": 0.385, "width": 768, "pictures": 5}


def test_auto_is_the_defaults():
    assert filled_in("auto", 0.0, {}) == Recipe()


def test_a_preset_fills_in_what_was_left_and_nothing_else():
    recipe = filled_in("likeness", 0.0, {"steps": 250, "num_vectors": 1, "seed": 9})
    assert (recipe.kind, recipe.num_vectors, recipe.steps, recipe.seed) == ("person", 4, 250, 9)
    assert filled_in("style", 0.0, {"kind": "subject"}).kind == "style"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("fidelity", [-1.0, -0.5, 0.0, 0.5, 1.0])
def test_every_preset_is_a_recipe_wherever_the_slider_is(preset, fidelity):
    recipe = filled_in(preset, fidelity, {})
    assert recipe.early_stop_after <= recipe.steps or not recipe.early_stop


def test_the_slider_trades_editing_for_likeness():
    moved = [moved_to(Recipe(), fidelity) for fidelity in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    assert [each.steps for each in moved] == [200, 300, 400, 500, 600]
    rates = [each.learning_rate for each in moved]
    assert rates == pytest.approx([0.24, 0.32, 0.4, 0.4, 0.4])
    assert [each.num_vectors for each in moved] == [1, 1, 1, 3, 4]
    assert [each.prior for each in moved] == pytest.approx([0.02, 0.01, 0, 0, 0])
    assert moved[2] == Recipe()


def test_published_recipes_stay_as_published():
    for name in ("as diffusers", "as A1111", "as the paper"):
        recipe = filled_in(name, 1.0, {})
        assert recipe == filled_in(name, 0.0, {})
        assert recipe.optimizer == "adamw" and recipe.keep == "last" and not recipe.early_stop
        assert recipe.timestep_density == "uniform" and recipe.averaging == 0


def test_unknown_presets_and_slider_places_are_refused():
    with pytest.raises(RecipeError, match="preset is 'best'"):
        filled_in("best", 0.0, {})
    with pytest.raises(RecipeError, match="fidelity is 3"):
        filled_in("auto", 3.0, {})


def test_what_a_preset_set_is_told():
    assert summary(filled_in("auto", 0.0, {"steps": 9}), {"steps": 9}) is None
    told = summary(filled_in("likeness", 0.0, {"steps": 9}), {"steps": 9})
    assert told == "kind person, num_vectors 4"


def adamw(schedule: str, steps: int) -> dict[str, object]:
    return {"optimizer": "adamw", "learning_rate_schedule": schedule, "steps": steps}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        (adamw("5e-3", 3000), "blow up the norm"),
        (adamw("2e-3", 3000), "blow up the norm"),
        (adamw("5e-3:100, 1e-3:1000", 1000), "blow up the norm"),
        (adamw("1e-6", 1600), "can't learn"),
        (adamw("2e-6", 1600), "can't learn"),
        ({"learning_rate": 0.0001}, "can't learn"),
        ({"learning_rate": 0.6}, "jumps over"),
        ({"num_vectors": 40}, "75 places"),
        ({"tag_dropout": 0.2}, "do nothing without captions"),
        ({"weight_decay": 0.1}, "weight_decay does nothing"),
        ({"probe_every": 2}, "probe bank takes"),
    ],
)
def test_the_linter_names_what_cannot_work(changes, word):
    found = lint(Recipe(**changes), **CLIP_L)
    assert any(word in sentence for sentence in found) and len(found) <= 2


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "learning_rate_schedule": "3e-4", "steps": 500},
        {"optimizer": "adamw", "learning_rate_schedule": "1e-4", "steps": 5000},
        {"steps": 2000, "learning_rate": 0.02, "num_vectors": 8},
    ],
)
def test_the_linter_is_silent_about_what_works(changes):
    assert lint(Recipe(**changes), **CLIP_L) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_no_preset_spends_much_on_its_probe_bank(preset):
    assert filled_in(preset, 0.0, {}).probe_share < 0.15


def test_many_pictures_are_remarked_for_a_thing_and_not_for_a_style():
    many = CLIP_L | {"pictures": 80}
    assert any("80 pictures" in each for each in lint(Recipe(), **many))
    assert lint(Recipe(kind="style"), **many) == []


def test_a_schedule_may_end_with_minus_one():
    assert written("5e-3:100, 1e-3:-1")(10**6) == 1e-3
