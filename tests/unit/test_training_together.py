"""Words learnt against good pictures, words learnt together, and pictures that disagree."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textual_inversion.tests.unit.toy_world import KEY, ToyDenoiser, ToyEncoder, pictures
from textual_inversion.training.dataset import Dataset
from textual_inversion.training.events import Finished, Stepped
from textual_inversion.training.recipe import Recipe
from textual_inversion.training.sphere import angle_between
from textual_inversion.training.trainer import Trainer

SETTINGS = {"early_stop": False, "preview_every": 0, "probe_every": 20, "learning_rate": 0.05}


def finish(run: Trainer) -> Finished:
    last = list(run.run())[-1]
    assert isinstance(last, Finished)
    return last


def direction(encoder: ToyEncoder, text: str) -> torch.Tensor:
    return encoder.token_vectors(text)[KEY]


def mixed(encoder, denoiser, words: str, count=6):
    """Latents that show the average of several words."""
    both = [pictures(encoder, denoiser, word, count) for word in words.split()]
    return [
        dataclasses.replace(each[0], mean=torch.stack([one.mean for one in each]).mean(dim=0))
        for each in zip(*both, strict=True)
    ]


def negative(good: bool):
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    bad = mixed(encoder, denoiser, "dog blur")
    fine = [dataclasses.replace(each, good=True) for each in pictures(encoder, denoiser, "dog")]
    recipe = Recipe(kind="negative", steps=250, batch_size=8, contrast=20.0, **SETTINGS)
    initial = {KEY: direction(encoder, "bad")}
    run = Trainer(
        recipe, encoder, denoiser, Dataset(bad), initial, good=Dataset(fine) if good else None
    )
    ended = finish(run)
    assert ended.best_loss < ended.initial_loss
    return encoder, ended.vectors[KEY]


def test_a_contrast_learns_what_sets_the_bad_apart():
    encoder, plain = negative(good=False)
    _, contrast = negative(good=True)
    shared, fault = direction(encoder, "dog"), direction(encoder, "blur")
    # On a sphere |C n - bad|^2 - |C n - good|^2 is least where n is along C'(bad - good).
    camera = ToyDenoiser().camera.flatten(1)
    apart = (fault - shared) @ camera @ camera.T
    assert angle_between(contrast, apart) < 0.3
    assert angle_between(plain, apart) > angle_between(contrast, apart) + 0.5
    assert angle_between(contrast, shared) > angle_between(plain, shared) + 0.5


def test_a_contrast_continues_bit_for_bit():
    encoder, denoiser = ToyEncoder(), ToyDenoiser()

    def make() -> Trainer:
        bad, fine = pictures(encoder, denoiser, "blur"), pictures(encoder, denoiser, "dog")
        recipe = Recipe(kind="negative", steps=30, **SETTINGS)
        initial = {KEY: direction(encoder, "bad")}
        return Trainer(recipe, encoder, denoiser, Dataset(bad), initial, good=Dataset(fine))

    whole, half, resumed = finish(make()), make(), make()
    for event in half.run():
        if isinstance(event, Stepped) and event.step == 13:
            break
    resumed.load_state_dict(half.state_dict())
    assert torch.equal(finish(resumed).vectors[KEY], whole.vectors[KEY])
    assert torch.equal(resumed.best[KEY], whole.vectors[KEY])


def test_two_words_are_learnt_together_from_captions_that_name_both():
    encoder, denoiser = ToyEncoder(window=20), ToyDenoiser()
    shown = [
        dataclasses.replace(each, caption=caption, concept=concept, source=4 * number + each.source)
        for number, (words, caption, concept) in enumerate(
            [("fox", "a {}", 0), ("sea", "a {sea2}", 1), ("fox sea", "{fox2} and {sea2}", 0)]
        )
        for each in mixed(encoder, denoiser, words, 4)
    ]
    recipe = Recipe(steps=300, batch_size=6, **SETTINGS)
    initial = {KEY: torch.cat([direction(encoder, "cat"), direction(encoder, "table")])}
    run = Trainer(recipe, encoder, denoiser, Dataset(shown), initial, words=["fox2", "sea2"])
    fox, sea = finish(run).vectors[KEY]
    assert angle_between(fox, direction(encoder, "fox")) < 0.3
    assert angle_between(sea, direction(encoder, "sea")) < 0.3


def difficulties(odd: int | None, words=("fox", "table"), **recipe):
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    shown = pictures(encoder, denoiser, words[0], 6)
    other = pictures(encoder, denoiser, words[1], 6)
    if odd is not None:
        shown[odd] = other[odd]
    initial = {KEY: direction(encoder, "cat")}
    recipe = Recipe(steps=200, batch_size=4, **(SETTINGS | recipe))
    run = Trainer(recipe, encoder, denoiser, Dataset(shown), initial)
    finish(run)
    return run.difficulties


@pytest.mark.parametrize("equal", [True, False])
def test_the_odd_picture_is_named(equal):
    found = difficulties(odd=3, equal_pulls=equal)
    remarks = found.remarks()
    assert len(remarks) == 1 and remarks[0].startswith("Picture 4 disagrees with the others")
    hardest = max(found.pictures(), key=lambda each: each.loss_ratio)
    assert hardest.source == 3 and hardest.loss_ratio > 1.1


def test_pictures_that_agree_are_not_remarked():
    found = difficulties(odd=None)
    assert found.remarks() == []
    assert all(0.9 < each.loss_ratio < 1.1 for each in found.pictures())
    assert sum(each.draws for each in found.pictures()) == 800
    shares = [share for share, _, _ in found.by_timestep()]
    assert shares == sorted(shares) and len(shares) >= 9


def test_steps_that_are_no_numbers_are_not_counted():
    found = difficulties(odd=None)
    before = found.losses.clone()
    bad = torch.full((2,), float("nan"))
    found.add([0, 1], torch.tensor([3, 4]), bad, torch.ones(2, 16, 8))
    assert torch.equal(found.losses, before) and found.pulls.isfinite().all()
