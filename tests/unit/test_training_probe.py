"""Rule 6: the probe bank is fixed, honest, and decides when to stop."""

from __future__ import annotations

import random

import pytest
import torch

from textual_inversion.tests.unit.toy_world import KEY, SHAPE, ToyDenoiser, ToyEncoder, pictures
from textual_inversion.training import timesteps
from textual_inversion.training.dataset import CachedPicture, Dataset
from textual_inversion.training.objective import Objective
from textual_inversion.training.plateau import has_diverged, has_plateaued
from textual_inversion.training.probe import ProbeBank
from textual_inversion.training.recipe import Recipe
from textual_inversion.training.sentences import Sentences


def bank(dataset: Dataset, encoder: ToyEncoder, denoiser: ToyDenoiser, size: int = 8) -> ProbeBank:
    return ProbeBank.build(
        dataset,
        Sentences(Recipe(), encoder),
        timesteps.density(denoiser.sigmas, "uniform", 0.05, 0.95),
        denoiser,
        size=size,
        objective=Objective(Recipe(), denoiser.prediction),
        generator=torch.Generator().manual_seed(1),
    )


def world():
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    return encoder, denoiser, Dataset(pictures(encoder, denoiser))


def test_the_same_vectors_give_the_same_number():
    encoder, denoiser, dataset = world()
    probe = bank(dataset, encoder, denoiser)
    vectors = encoder.token_vectors("cat")
    first = probe.measure(encoder, denoiser, vectors)
    torch.rand(5)
    assert probe.measure(encoder, denoiser, vectors) == first
    assert bank(dataset, encoder, denoiser).measure(encoder, denoiser, vectors) == first


def test_the_true_word_scores_best():
    encoder, denoiser, dataset = world()
    probe = bank(dataset, encoder, denoiser)
    losses = {
        word: probe.measure(encoder, denoiser, encoder.token_vectors(word))
        for word in ("fox", "cat", "table", "sea")
    }
    assert min(losses, key=losses.get) == "fox"


def test_the_bank_covers_all_pictures_and_the_range_of_timesteps():
    encoder, denoiser, dataset = world()
    probe = bank(dataset, encoder, denoiser, size=12)
    group = probe.groups[0]
    assert len({tuple(latent.flatten().tolist()) for latent in group.latents}) == 6
    edges = torch.searchsorted(denoiser.sigmas, group.sigmas).sort().values
    assert edges[0] < 15 and edges[-1] > 85 and (edges.diff() < 12).all()


def test_pictures_of_several_shapes_share_a_bank():
    encoder, denoiser, _ = world()
    mixed = [
        CachedPicture(torch.zeros(SHAPE), None, 0),
        CachedPicture(torch.zeros(2, 4, 4), None, 1),
    ]
    probe = bank(Dataset(mixed), encoder, denoiser, size=4)
    assert sum(group.latents.shape[0] for group in probe.groups) == 4


def test_measuring_needs_no_gradient_and_encodes_in_one_batch():
    encoder, denoiser, dataset = world()
    probe = bank(dataset, encoder, denoiser)
    vectors = {KEY: encoder.token_vectors("cat")[KEY].requires_grad_(True)}
    probe.measure(encoder, denoiser, vectors)
    assert vectors[KEY].grad is None and encoder.encoded == [2]


def noisy(values, seed=0, size=1e-4):
    generator = random.Random(seed)
    return [value + generator.gauss(0, size) for value in values]


def test_a_curve_that_fell_and_flattened_has_plateaued():
    falling = [0.1 * 0.7**step + 0.05 for step in range(15)]
    assert has_plateaued(noisy(falling + [0.05] * 25))


@pytest.mark.parametrize(
    "curve",
    [
        [0.1 - 0.001 * step for step in range(40)],
        [0.1 * 0.97**step for step in range(40)],
        [0.1, 0.05, 0.05, 0.05],
    ],
)
def test_a_curve_that_still_falls_or_is_short_has_not(curve):
    assert not has_plateaued(noisy(curve, size=1e-5))


def test_a_curve_that_stays_above_its_start_has_diverged():
    assert has_diverged([0.1, 0.09, *[0.12] * 6])
    assert not has_diverged([0.1, 0.09, *[0.12] * 5])
    assert not has_diverged([0.1, *[0.12] * 5, 0.105])
    assert not has_diverged([0.1, *[0.105] * 20])


def test_a_dead_curve_has_plateaued():
    assert has_plateaued([0.1] * 40)
