"""Losses by their formulas: masks, min-SNR, and the contrast of good and bad pictures."""

from __future__ import annotations

import math

import pytest
import torch

from textual_inversion.training import losses
from textual_inversion.training.masks import latent_mask
from textual_inversion.training.objective import Objective
from textual_inversion.training.recipe import Recipe


def sample(count=3):
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(count, 4, 6, 6, generator=generator)
    guess = torch.randn(count, 4, 6, 6, generator=generator)
    return guess, clean, torch.tensor([0.2, 1.0, 5.0])[:count]


@pytest.mark.parametrize(
    ("prediction", "weights"),
    [("eps", [5 / 25, 1.0, 1.0]), ("v", [5 / 26, 1 / 2, 0.04 / 1.04])],
)
def test_min_snr_weighs_by_its_formula(prediction, weights):
    guess, clean, sigmas = sample()
    plain = Objective(Recipe(), prediction).losses(guess, clean, sigmas)
    weighed = Objective(Recipe(min_snr_gamma=5.0), prediction).losses(guess, clean, sigmas)
    assert torch.allclose(weighed / plain, torch.tensor(weights), rtol=1e-5)


def test_min_snr_of_a_flow_follows_its_own_snr():
    weights = losses.min_snr(torch.tensor([0.1, 0.5, 0.9]), 5.0, "flow")
    assert weights.tolist() == pytest.approx([5 / 81, 1.0, 1.0], rel=1e-5)


def test_a_mask_counts_only_what_it_shows_and_a_whole_one_changes_nothing():
    guess, clean, sigmas = sample()
    objective = Objective(Recipe(), "eps")
    plain = objective.losses(guess, clean, sigmas)
    assert torch.allclose(objective.losses(guess, clean, sigmas, torch.ones(3, 1, 6, 6)), plain)
    half = torch.zeros(6, 6)
    half[:, :3] = 1
    mask = latent_mask(half, (6, 6)).expand(3, 1, 6, 6)
    left = objective.losses(guess[..., :3], clean[..., :3], sigmas)
    assert torch.allclose(objective.losses(guess, clean, sigmas, mask), left, rtol=1e-5)


def test_a_latent_counts_as_its_pixels_do_and_the_mean_is_one():
    mask = torch.full((64, 48), 0.1)
    mask[:32, :24] = 1.0
    small = latent_mask(mask, (8, 6))
    assert small.shape == (8, 6) and small.mean().item() == pytest.approx(1.0)
    assert (small[:4, :3] / small[-1, -1]).unique().tolist() == pytest.approx([10.0])
    assert latent_mask(torch.zeros(16, 16), (2, 2)).isfinite().all()


def test_the_contrast_falls_as_bad_is_explained_better_and_good_worse():
    objective = Objective(Recipe(contrast=10.0), "eps")
    empty = torch.tensor([0.5, 0.5, 0.4, 0.4])
    even = objective.reduce(empty.clone(), empty)
    assert even.item() == pytest.approx(math.log(2))
    better_bad = objective.reduce(torch.tensor([0.4, 0.4, 0.4, 0.4]), empty)
    worse_good = objective.reduce(torch.tensor([0.5, 0.5, 0.5, 0.5]), empty)
    better_good = objective.reduce(torch.tensor([0.5, 0.5, 0.3, 0.3]), empty)
    assert better_bad < even and worse_good < even < better_good
    assert better_bad.item() == pytest.approx(math.log1p(math.exp(-1.0)), rel=1e-5)
