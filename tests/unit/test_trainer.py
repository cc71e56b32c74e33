"""The loop: it learns, tells the truth, draws anew, survives, and repeats itself exactly."""

from __future__ import annotations

import math

import pytest
import torch

from textual_inversion.tests.unit.toy_world import KEY, NORM, ToyDenoiser, ToyEncoder, pictures
from textual_inversion.training.dataset import CachedPicture, Dataset
from textual_inversion.training.events import (
    Finished,
    Previewed,
    Probed,
    Resumable,
    Snapshotted,
    Stepped,
)
from textual_inversion.training.initial import initial_vectors
from textual_inversion.training.prompts import PromptError
from textual_inversion.training.recipe import Recipe
from textual_inversion.training.sphere import angle_between
from textual_inversion.training.trainer import Trainer, TrainingError


def trainer(encoder=None, denoiser=None, captions=None, **changes) -> Trainer:
    encoder, denoiser = encoder or ToyEncoder(), denoiser or ToyDenoiser()
    settings = {"steps": 120, "learning_rate": 0.05, "early_stop": False, "preview_every": 0}
    recipe = Recipe(**(settings | changes))
    cached = pictures(encoder, denoiser)
    if captions:
        cached = [
            CachedPicture(each.mean, each.std, each.source, caption)
            for each, caption in zip(cached, captions, strict=True)
        ]
    generator = torch.Generator().manual_seed(recipe.seed)
    start = initial_vectors(encoder, "cat", recipe.num_vectors, recipe.spread, generator)
    return Trainer(recipe, encoder, denoiser, Dataset(cached), start)


def finish(run: Trainer) -> Finished:
    last = list(run.run())[-1]
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("loss", ["l2", "huber"])
def test_it_learns_the_word_in_the_pictures(prediction, loss):
    encoder = ToyEncoder()
    run = trainer(encoder, ToyDenoiser(prediction), loss=loss)
    ended = finish(run)
    word, other = encoder.token_vectors("fox")[KEY], encoder.token_vectors("cat")[KEY]
    assert angle_between(other, word).item() > 0.8
    assert angle_between(ended.vectors[KEY], word).item() < 0.25
    floor = run.bank.measure(encoder, run.denoiser, {KEY: word})
    assert ended.best_loss - floor < 0.1 * (ended.initial_loss - floor)


def test_the_norm_stays_that_of_words():
    ended = finish(trainer(num_vectors=3, learning_rate=0.3))
    assert ended.vectors[KEY].shape == (3, 8)
    assert torch.allclose(ended.vectors[KEY].norm(dim=-1), torch.full((3,), NORM), atol=1e-5)


def test_adamw_is_free_to_change_the_norm():
    run = trainer(optimizer="adamw", learning_rate=0.3, steps=10)
    finish(run)
    assert abs(run.optimizers[KEY].vectors().norm().item() - NORM) > 0.1


def test_only_the_vectors_change():
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    before = encoder.table.clone(), denoiser.camera.clone()
    finish(trainer(encoder, denoiser, steps=20))
    assert torch.equal(encoder.table, before[0]) and torch.equal(denoiser.camera, before[1])
    assert not encoder.table.requires_grad and encoder.table.grad is None


def test_a_seed_decides_every_bit():
    first, again = finish(trainer(seed=3, steps=30)), finish(trainer(seed=3, steps=30))
    other = finish(trainer(seed=4, steps=30))
    assert torch.equal(first.vectors[KEY], again.vectors[KEY])
    assert not torch.equal(first.vectors[KEY], other.vectors[KEY])


def test_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    finish(trainer(steps=20))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_stopped_run_continues_bit_for_bit():
    whole = finish(trainer(steps=40, num_vectors=2))
    half = trainer(steps=40, num_vectors=2)
    for event in half.run():
        if isinstance(event, Stepped) and event.step == 23:
            break
    resumed = trainer(steps=40, num_vectors=2)
    resumed.load_state_dict(half.state_dict())
    ended = finish(resumed)
    assert torch.equal(ended.vectors[KEY], whole.vectors[KEY])
    assert (ended.best_step, ended.best_loss) == (whole.best_step, whole.best_loss)


def test_events_come_in_their_order():
    events = list(trainer(steps=20, probe_every=5, preview_every=10, snapshot_every=8).run())
    assert isinstance(events[0], Probed) and events[0].step == 0
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 21))
    assert [event.step for event in events if isinstance(event, Probed)] == [0, 5, 10, 15, 20]
    assert [event.step for event in events if isinstance(event, Previewed)] == [10]
    kept = [event for event in events if isinstance(event, Snapshotted)]
    assert [event.step for event in kept] == [8, 16]
    assert not torch.equal(kept[0].vectors[KEY], kept[1].vectors[KEY])
    assert [event.step for event in events if isinstance(event, Resumable)] == [5, 10, 15, 20]


def test_the_best_step_is_kept_not_the_last():
    run = trainer(steps=60, probe_every=5)
    run.rate = lambda step: 0.05 if step < 40 else -0.3
    ended = finish(run)
    assert ended.best_step <= 45 and ended.best_loss < run.curve[-1][1]
    measured = run.bank.measure(run.encoder, run.denoiser, ended.vectors)
    assert measured == pytest.approx(ended.best_loss, rel=1e-5)


def test_it_stops_on_a_plateau_and_not_before_it_may():
    run = trainer(steps=2000, early_stop=True, early_stop_after=150, final_rate=1.0)
    ended = finish(run)
    assert ended.reason == "plateau" and 150 <= ended.step < 1500


def test_a_run_that_diverges_ends_with_the_best_before():
    run = trainer(steps=400, probe_every=5, early_stop=True, early_stop_after=400)
    run.rate = lambda step: 0.05 if step < 30 else -0.3
    ended = finish(run)
    assert ended.reason == "diverged" and ended.step < 200
    assert 0 < ended.best_step <= 35 and ended.best_loss < ended.initial_loss


def test_a_run_that_only_diverges_is_an_error_that_says_what_to_lower():
    run = trainer(steps=400, probe_every=5, early_stop=True, early_stop_after=400)
    run.rate = lambda step: -0.3
    with pytest.raises(TrainingError, match=r"diverged.*lower learning_rate"):
        finish(run)


def test_templates_are_drawn_anew_every_step():
    encoder = ToyEncoder()
    finish(trainer(encoder, steps=60))
    rows = {tuple(map(str, prompt[KEY].items)) for prompt in encoder.seen}
    assert len(rows) >= 20


def test_each_different_prompt_of_a_step_is_encoded_once_in_one_batch():
    encoder = ToyEncoder()
    finish(trainer(encoder, steps=10, batch_size=6, prompts_per_step=2, probe_every=100))
    assert encoder.encoded[1:-1] == [2] * 10
    encoder = ToyEncoder()
    finish(trainer(encoder, steps=10, batch_size=6, captions=["a {}"] * 6, probe_every=100))
    assert encoder.encoded[1:-1] == [1] * 10


def test_captions_are_used_where_there_are_some():
    encoder = ToyEncoder()
    finish(trainer(encoder, steps=30, captions=["a {} one", "two"] + ["three {}"] * 4))
    expected = {
        tuple(map(str, encoder.tokenize(prompt, 1)[KEY].items))
        for prompt in ("a {} one", "{}, two", "three {}")
    }
    assert {tuple(map(str, prompt[KEY].items)) for prompt in encoder.seen} == expected


def test_moments_are_resampled_every_step():
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    clean = pictures(encoder, denoiser, count=1)[0]
    cached = [CachedPicture(clean.mean, torch.full_like(clean.mean, 0.1), 0)]
    recipe = Recipe(steps=10, batch_size=1, probe_every=100, preview_every=0)
    run = Trainer(recipe, encoder, denoiser, Dataset(cached), encoder.token_vectors("cat"))
    finish(run)
    used = {tuple(each[0].flatten().tolist()) for each in denoiser.latents if each.shape[0] == 1}
    assert len(used) == 10


def test_vectors_that_do_not_fit_stop_the_run_before_it_starts():
    with pytest.raises(PromptError, match="vectors fit"):
        trainer(ToyEncoder(window=8), num_vectors=6)


class ToyDenoiserOfNaN(ToyDenoiser):
    def denoise(self, noisy, sigmas, text, frames=()):
        return super().denoise(noisy, sigmas, text, frames) * math.nan


class Detaching(ToyDenoiser):
    def denoise(self, noisy, sigmas, text, frames=()):
        return super().denoise(noisy, sigmas, text._replace(context=text.context.detach()))


class Forgetting(ToyDenoiser):
    def denoise(self, noisy, sigmas, text, frames=()):
        return noisy + 0.0 * text.context.mean()


@pytest.mark.parametrize("denoiser", [Detaching, Forgetting])
def test_a_model_no_gradient_passes_through_is_found_at_the_first_step(denoiser):
    run = trainer(denoiser=denoiser())
    with pytest.raises(TrainingError, match="No gradient reaches"):
        finish(run)
    assert run.steps_done == 0


def test_cancelled_early_it_still_has_something_to_keep():
    run = trainer()
    for event in run.run():
        if isinstance(event, Stepped) and event.step == 5:
            break
    assert not torch.equal(run.best_so_far()[KEY], run.best[KEY])
    finish(run)
    assert torch.equal(run.best_so_far()[KEY], run.best[KEY])


def test_the_loss_scale_changes_nothing_in_full_precision_and_halves_on_overflow():
    class Scaled(ToyDenoiser):
        loss_scale = 4096.0

    plain, scaled = finish(trainer(steps=10)), finish(trainer(denoiser=Scaled(), steps=10))
    assert torch.allclose(plain.vectors[KEY], scaled.vectors[KEY], atol=1e-6)
    spoilt = Scaled()
    spoilt.spoil = {3}
    run = trainer(denoiser=spoilt, steps=10)
    finish(run)
    assert run.guard.loss_scale.item() == 2048.0
