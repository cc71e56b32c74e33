"""What a step lowers: weighted squared (or Huber) errors, or the contrast of two sets."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as functional

from . import losses
from .recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of a recipe for a network that predicts ``prediction`` ('eps', 'v' or 'flow')."""

    recipe: Recipe
    prediction: str

    def losses(
        self,
        denoised: torch.Tensor,
        latents: torch.Tensor,
        sigmas: torch.Tensor,
        masks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss of each sample ``[B]``; ``masks`` ``[B, 1, h, w]`` have a mean of 1 each."""
        recipe, weights = self.recipe, self.weights(sigmas)
        rest = losses.residual(denoised, latents, sigmas, self.prediction)
        each = losses.penalty(rest, recipe.loss, recipe.huber_delta, masks)
        return each if weights is None else each * weights

    def weights(self, sigmas: torch.Tensor) -> torch.Tensor | None:
        """What the losses at these noise levels are multiplied by ``[B]``; None for nothing."""
        if not self.recipe.min_snr_gamma:
            return None
        return losses.min_snr(sigmas, self.recipe.min_snr_gamma, self.prediction)

    def reduce(self, each: torch.Tensor, empty: torch.Tensor | None = None) -> torch.Tensor:
        """One number: the mean, or with ``empty`` the contrast.

        ``empty`` ``[B]`` are the losses of the same samples under the empty prompt; the first
        half of the samples are bad pictures, the second half the good ones paired with them. With
        d = loss - empty loss the contrast is -log sigmoid(strength (d_good - d_bad)): the word
        should explain the bad better than no word does, and the good worse.
        """
        if empty is None:
            return each.mean()
        bad, good = (each - empty).chunk(2)
        return -functional.logsigmoid(self.recipe.contrast * (good - bad)).mean()
