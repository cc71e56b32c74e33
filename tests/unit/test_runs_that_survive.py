"""Steps without numbers, too little memory, and a choice of encoders."""

from __future__ import annotations

import itertools

import pytest
import torch

from textual_inversion.tests.unit.test_trainer import ToyDenoiserOfNaN, finish, trainer
from textual_inversion.tests.unit.toy_world import KEY, ToyDenoiser
from textual_inversion.training.events import Finished, RolledBack, SteppedDown
from textual_inversion.training.trainer import TrainingError, trained_keys


def spoilt(steps) -> ToyDenoiser:
    """A denoiser whose passes of these numbers give NaN; the first pass is the probe's."""
    denoiser = ToyDenoiser()
    denoiser.spoil = set(steps)
    return denoiser


def test_a_step_of_nan_moves_nothing_not_even_the_optimizer():
    run = trainer(denoiser=spoilt({4}), steps=10, probe_every=100)
    states = []
    for event in run.run():
        if type(event).__name__ == "Stepped":
            states.append(run.optimizers[KEY].state_dict())
    same = [
        all(torch.equal(before[name], after[name]) for name in before)
        for before, after in itertools.pairwise(states)
    ]
    assert same == [step == 1 for step in range(9)]


def test_a_few_steps_of_nan_do_not_end_the_run():
    ended = finish(trainer(denoiser=spoilt({4, 5, 20}), steps=60, probe_every=100))
    assert ended.vectors[KEY].isfinite().all() and ended.best_loss < ended.initial_loss
    assert ended.reason == "steps" and ended.step == 60


def test_a_row_of_nan_steps_goes_back_to_the_last_good_state_at_half_the_rate():
    run = trainer(denoiser=spoilt({14, 15, 16}), steps=30, probe_every=10)
    good, events = None, []
    for event in run.run():
        events.append(event)
        if run.steps_done == 10 and good is None:
            good = run.optimizers[KEY].state_dict()
        if isinstance(event, RolledBack):
            back = run.optimizers[KEY].state_dict()
            assert all(torch.equal(good[name], back[name]) for name in good)
    rolled = [event for event in events if isinstance(event, RolledBack)]
    assert [event.rate_factor for event in rolled] == [0.5]
    rates = {event.step: event.rate for event in events if type(event).__name__ == "Stepped"}
    assert rates[20] == pytest.approx(0.5 * run.rate(19))
    assert isinstance(events[-1], Finished) and events[-1].reason == "steps"


def test_nan_from_some_step_on_ends_the_run_with_the_best_kept():
    run = trainer(denoiser=spoilt(range(30, 500)), steps=200, probe_every=10)
    ended = finish(run)
    assert ended.reason == "no numbers" and ended.step < 60
    assert 0 < ended.best_step <= 20 and ended.best_loss < ended.initial_loss
    measured = [loss for _, loss in run.curve]
    assert all(loss == loss for loss in measured)


def test_nothing_but_nan_ends_in_a_clear_error():
    with pytest.raises(TrainingError, match="not been a number"):
        finish(trainer(denoiser=spoilt(range(2, 500)), steps=100, probe_every=500))
    with pytest.raises(TrainingError, match="before the first step"):
        finish(trainer(denoiser=ToyDenoiserOfNaN(), steps=100))


@pytest.mark.parametrize(("room", "steps_down"), [(8, 0), (4, 1), (1, 2)])
def test_with_too_little_memory_it_goes_on_in_less_with_the_same_result(room, steps_down):
    whole = finish(trainer(steps=20, batch_size=4))
    denoiser = ToyDenoiser()
    denoiser.room = room
    events = list(trainer(denoiser=denoiser, steps=20, batch_size=4).run())
    down = [event for event in events if isinstance(event, SteppedDown)]
    assert len(down) == steps_down and all(event.step == 0 and event.how for event in down)
    assert torch.allclose(events[-1].vectors[KEY], whole.vectors[KEY], atol=1e-5)


def test_with_no_memory_at_all_the_error_names_the_remedy():
    denoiser = ToyDenoiser()
    denoiser.room = 0
    with pytest.raises(TrainingError, match="lower resolution"):
        finish(trainer(denoiser=denoiser, steps=20))


def test_a_run_that_stepped_down_continues_so():
    def small() -> ToyDenoiser:
        denoiser = ToyDenoiser()
        denoiser.room = 1
        return denoiser

    half = trainer(denoiser=small(), steps=20)
    for event in half.run():
        if type(event).__name__ == "Stepped" and event.step == 7:
            break
    again = trainer(denoiser=small(), steps=20)
    assert again.resume(half.state_dict())
    assert again.gradients.pictures_at_once == 1
    whole = finish(trainer(denoiser=small(), steps=20))
    assert torch.equal(finish(again).vectors[KEY], whole.vectors[KEY])


def test_a_state_of_other_models_is_not_continued():
    other = ToyDenoiser()
    other.camera = 1.01 * other.camera
    half = trainer(denoiser=other, steps=20)
    for event in half.run():
        if type(event).__name__ == "Stepped" and event.step == 7:
            break
    again = trainer(steps=20)
    assert not again.resume(half.state_dict()) and again.steps_done == 0


def test_an_encoder_that_is_not_there_is_an_error_that_says_so():
    run = trainer(steps=1)
    assert trained_keys(run.recipe, ["clip_l", "clip_g"]) == ["clip_l", "clip_g"]
    only = run.recipe.changed(encoders="clip_g")
    assert trained_keys(only, ["clip_l", "clip_g"]) == ["clip_g"]
    with pytest.raises(TrainingError, match=r"clip_g.*clip_h"):
        trained_keys(only, ["clip_h"])
