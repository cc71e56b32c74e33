"""What a batch holds: noise with its offset, and masks that decide what is learnt."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textual_inversion.tests.unit.toy_world import KEY, ToyDenoiser, ToyEncoder, pictures
from textual_inversion.training.batches import BatchSource
from textual_inversion.training.dataset import Dataset
from textual_inversion.training.masks import latent_mask
from textual_inversion.training.recipe import Recipe
from textual_inversion.training.sentences import Sentences
from textual_inversion.training.sphere import angle_between
from textual_inversion.training.trainer import Trainer


def drawn(**knobs):
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    recipe = Recipe(batch_size=6, **knobs)
    source = BatchSource(
        recipe,
        Dataset(pictures(encoder, denoiser)),
        Sentences(recipe, encoder),
        denoiser.sigmas,
        prompts_per_step=2,
    )
    generator = torch.Generator().manual_seed(0)
    return [source.draw(generator) for _ in range(50)]


def test_the_noise_offset_shifts_every_picture_and_channel_as_a_whole():
    plain = drawn()[0].noise
    shift = drawn(noise_offset=0.3)[0].noise - plain
    assert torch.allclose(shift, shift[..., :1, :1].expand_as(shift), atol=1e-6)
    places = torch.cat([batch.noise.mean(dim=(2, 3)) for batch in drawn(noise_offset=0.3)])
    # the mean of 16 numbers has a variance of 1/16; the shift adds 0.3 squared
    assert places.var().item() == pytest.approx(1 / 16 + 0.09, rel=0.2)
    without = torch.cat([batch.noise.mean(dim=(2, 3)) for batch in drawn()])
    assert without.var().item() == pytest.approx(1 / 16, rel=0.2)


def halves(denoiser: ToyDenoiser, encoder: ToyEncoder, mask: torch.Tensor | None):
    """Latents that show one word on the left and another on the right."""
    both = zip(pictures(encoder, denoiser, "fox"), pictures(encoder, denoiser, "sea"), strict=True)
    return [
        dataclasses.replace(
            one, mean=torch.cat([one.mean[..., :2], other.mean[..., 2:]], dim=-1), mask=mask
        )
        for one, other in both
    ]


def learnt(mask: torch.Tensor | None) -> tuple[float, float]:
    """The angles to the words on the left and on the right, starting between them."""
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    between = encoder.token_vectors("fox sea")[KEY].mean(dim=0, keepdim=True)
    shown = Dataset(halves(denoiser, encoder, mask))
    recipe = Recipe(steps=150, learning_rate=0.05, early_stop=False, preview_every=0)
    run = Trainer(recipe, encoder, denoiser, shown, {KEY: between})
    ended = list(run.run())[-1]
    left, right = (
        angle_between(ended.vectors[KEY], encoder.token_vectors(word)[KEY]).item()
        for word in ("fox", "sea")
    )
    return left, right


def test_a_mask_decides_which_of_two_things_is_learnt():
    side = torch.zeros(4, 4)
    side[:, :2] = 1.0
    left = learnt(latent_mask(side, (4, 4)))
    right = learnt(latent_mask(1 - side, (4, 4)))
    both = learnt(None)
    assert left[0] < 0.3 < 1.0 < left[1] and right[1] < 0.3 < 1.0 < right[0]
    assert both[0] > left[0] + 0.2 and both[1] > right[1] + 0.2
