"""One step's draw: pictures, latents, noise, timesteps and prompts, all from one generator."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from . import timesteps
from .dataset import CachedPicture, Dataset
from .recipe import Recipe
from .sentences import Sentences


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a step learns from; tensors on the CPU.

    ``latents`` and ``noise`` ``[B, C, h, w]``, ``timesteps`` ``[B]`` (integers), ``sigmas``
    ``[B]``, ``masks`` ``[B, 1, h, w]`` or None, a prompt for every picture. In a contrast the
    second half are the good pictures, with the noise, timesteps and prompts of the first half.
    """

    pictures: tuple[CachedPicture, ...]
    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    sigmas: torch.Tensor
    prompts: tuple[str, ...]
    masks: torch.Tensor | None = None

    def rows(self, chosen: Sequence[int]) -> Batch:
        """A part of the batch."""
        rows = list(chosen)
        return Batch(
            tuple(self.pictures[row] for row in rows),
            self.latents[rows],
            self.noise[rows],
            self.timesteps[rows],
            self.sigmas[rows],
            tuple(self.prompts[row] for row in rows),
            None if self.masks is None else self.masks[rows],
        )


class BatchSource:
    """Draws batches; the order of the pictures and the generator are its only state."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        sentences: Sentences,
        sigmas: torch.Tensor,
        prompts_per_step: int,
        good: Dataset | None = None,
    ) -> None:
        self.recipe = recipe
        self.dataset = dataset
        self.good = good
        self.sentences = sentences
        self.sigmas = sigmas
        self.prompts_per_step = prompts_per_step
        self.probabilities = timesteps.density(
            sigmas, recipe.timestep_density, recipe.timestep_from, recipe.timestep_to
        )

    def draw(self, generator: torch.Generator) -> Batch:
        """The next batch; every random number comes from ``generator``."""
        recipe = self.recipe
        count = recipe.batch_size if self.good is None else max(1, recipe.batch_size // 2)
        pictures = self.dataset.draw(count, generator)
        latents = torch.stack([each.sample(generator) for each in pictures])
        noise = torch.randn(latents.shape, generator=generator)
        if recipe.noise_offset:
            shift = torch.randn((*latents.shape[:2], 1, 1), generator=generator)
            noise = noise + recipe.noise_offset * shift
        chosen = timesteps.draw(self.probabilities, count, generator)
        prompts = self.sentences.draw(pictures, self.prompts_per_step, generator)
        if self.good is not None:
            others = self.good.draw(count, generator, shape=tuple(pictures[0].mean.shape))
            pictures = [*pictures, *others]
            latents = torch.cat([latents, torch.stack([each.sample(generator) for each in others])])
            noise, chosen, prompts = noise.repeat(2, 1, 1, 1), chosen.repeat(2), prompts * 2
        return Batch(
            tuple(pictures),
            latents,
            noise,
            chosen,
            self.sigmas[chosen],
            tuple(prompts),
            stacked_masks(pictures),
        )


def stacked_masks(pictures: Sequence[CachedPicture]) -> torch.Tensor | None:
    """``[B, 1, h, w]``, ones where a picture has no mask; None where none of them has one."""
    if all(each.mask is None for each in pictures):
        return None
    shape = pictures[0].mean.shape[-2:]
    masks = [torch.ones(shape) if each.mask is None else each.mask for each in pictures]
    return torch.stack(masks).unsqueeze(1)
