"""Whether mirrored twins help: the model is asked before the first step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from .batches import stacked_masks
from .dataset import CachedPicture
from .objective import Objective
from .prompts import PromptTokens
from .protocols import Denoiser, TextContext, TextEncoder
from .timesteps import draw

PAIRS = 8
HARDER = 1.0
ROUNDING = 2e-4


@torch.no_grad()
def twins_are_harder(
    pictures: Sequence[CachedPicture],
    prompt: PromptTokens,
    vectors: Mapping[str, torch.Tensor],
    probabilities: torch.Tensor,
    encoder: TextEncoder,
    denoiser: Denoiser,
    objective: Objective,
    generator: torch.Generator,
) -> bool:
    """True where the mirrored twins' losses lie above the upright ones' by a standard error.

    Each pair has the same timestep and, mirrored with it, the same noise, so that a model to
    which left and right are alike finds no difference at all. Text and asymmetric things are
    harder mirrored.
    """
    pairs = paired(pictures)
    if not pairs:
        return False
    rounds = max(1, math.ceil(PAIRS / len(pairs)))
    levels = draw(probabilities, rounds * len(pairs), generator)
    text = encoder.encode([prompt], vectors)
    found = []
    for number, (upright, twin) in enumerate(pairs * rounds):
        noise = torch.randn((1, *upright.mean.shape), generator=generator)
        sigma = denoiser.sigmas.cpu()[levels[number : number + 1]]
        losses = [
            _loss(picture, seen, sigma, text, denoiser, objective)
            for picture, seen in ((upright, noise), (twin, noise.flip(-1)))
        ]
        found.append(losses)
    both = torch.tensor(found, dtype=torch.float64)
    difference = both[:, 1] - both[:, 0]
    error = float(difference.std()) / math.sqrt(len(found)) if len(found) > 1 else 0.0
    least = max(HARDER * error, ROUNDING * float(both[:, 0].mean()))
    return float(difference.mean()) > least


def paired(pictures: Sequence[CachedPicture]) -> list[tuple[CachedPicture, CachedPicture]]:
    """(upright, mirrored) of every picture that has a twin."""
    upright = {each.source: each for each in pictures if not each.flipped}
    return [(upright[each.source], each) for each in pictures if each.flipped]


def _loss(
    picture: CachedPicture,
    noise: torch.Tensor,
    sigma: torch.Tensor,
    text: TextContext,
    denoiser: Denoiser,
    objective: Objective,
) -> float:
    latents = picture.mean[None].to(denoiser.device)
    sigmas = sigma.to(denoiser.device)
    masks = stacked_masks([picture])
    noisy = denoiser.add_noise(latents, noise.to(denoiser.device), sigmas)
    denoised = denoiser.denoise(noisy, sigmas, text, [picture.frame])
    masks = None if masks is None else masks.to(denoiser.device)
    return float(objective.losses(denoised, latents, sigmas, masks).cpu()[0])
