"""Equal pulls: pictures of any loudness turn the word alike, whole or in parts."""

from __future__ import annotations

import pytest
import torch

from textual_inversion.tests.unit.test_trainer import trainer
from textual_inversion.tests.unit.toy_world import KEY
from textual_inversion.training.dataset import Dataset
from textual_inversion.training.pulls import equalised, lengths
from textual_inversion.training.recipe import Recipe
from textual_inversion.training.trainer import Trainer


def drawn(**changes):
    """A trainer, and the batch of its first step."""
    run = trainer(batch_size=4, prompts_per_step=4, **changes)
    return run, run.source.draw(run.generator)


def gradients(run: Trainer, batch):
    vectors = {key: each.vectors() for key, each in run.optimizers.items()}
    return run.gradients.step(batch, vectors, {}, torch.tensor(1.0))


def test_every_pull_gets_the_mean_length_and_keeps_its_direction():
    generator = torch.Generator().manual_seed(0)
    loud = torch.tensor([1.0, 100.0, 0.01])
    context = torch.randn(3, 5, 7, generator=generator) * loud.view(-1, 1, 1)
    pooled = torch.randn(3, 7, generator=generator) * loud.view(-1, 1)
    length = lengths([context, pooled])
    alike = equalised([context, pooled], length, None)
    assert torch.allclose(lengths(alike), length.mean().expand(3))
    for before, after in zip((context, pooled), alike, strict=True):
        cosine = torch.cosine_similarity(before.flatten(1), after.flatten(1))
        assert torch.allclose(cosine, torch.ones(3))
    weighed = equalised([context, pooled], length, torch.tensor([1.0, 0.5, 0.25]))
    assert torch.allclose(lengths(weighed) / length.mean(), torch.tensor([1.0, 0.5, 0.25]))


def test_a_picture_without_a_pull_stays_without_one():
    pull = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    (alike,) = equalised([pull], lengths([pull]), None)
    assert alike[0].tolist() == [0.0, 0.0] and alike[1].norm().item() == pytest.approx(2.5)


def test_a_step_adds_up_every_picture_s_own_gradient_at_one_length():
    run, batch = drawn(equal_pulls=True)
    plain, _ = drawn(equal_pulls=False)
    alone = [gradients(plain, batch.rows([row])) for row in range(4)]
    length = torch.cat([lengths([each.pulls]) for each in alone]) / 4
    assert length.max() > 2 * length.min()
    parts = [
        each.gradients[0] / 4 * length.mean() / own for each, own in zip(alone, length, strict=True)
    ]
    found = gradients(run, batch)
    assert torch.allclose(found.gradients[0], sum(parts), rtol=1e-4)
    whole = gradients(plain, batch).gradients[0]
    assert not torch.allclose(found.gradients[0], whole, rtol=0.05)


@pytest.mark.parametrize("changes", [{}, {"min_snr_gamma": 5.0}])
def test_one_picture_at_a_time_pulls_as_the_whole_batch_does(changes):
    run, batch = drawn(equal_pulls=True, **changes)
    whole = gradients(run, batch)
    run.gradients.pictures_at_once = 1
    parts = gradients(run, batch)
    assert torch.allclose(whole.gradients[0], parts.gradients[0], rtol=1e-4)
    assert torch.allclose(whole.pulls, parts.pulls, rtol=1e-4)


def test_the_loss_scale_of_half_precision_changes_nothing():
    run, batch = drawn(equal_pulls=True)
    vectors = {KEY: run.optimizers[KEY].vectors()}
    plain = run.gradients.step(batch, vectors, {}, torch.tensor(1.0))
    raised = run.gradients.step(batch, vectors, {}, torch.tensor(1024.0))
    assert torch.allclose(plain.gradients[0], raised.gradients[0], rtol=1e-5)


def test_a_contrast_weighs_its_pictures_itself():
    run, _ = drawn()
    good = Dataset(run.dataset.pictures)
    bad_and_good = Trainer(
        Recipe(steps=5), run.encoder, run.denoiser, run.dataset, run.initial, good=good
    )
    assert run.gradients.equal_pulls and not bad_and_good.gradients.equal_pulls
