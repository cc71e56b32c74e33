"""The probe bank: fixed (picture, noise, timestep, prompt) sets, the one honest curve.

The training loss of a step is dominated by which noise and timestep were drawn; with all of
them frozen, what is left is the vectors' doing (DVAR, arXiv 2302.04841).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from . import losses
from .dataset import CachedPicture, Dataset
from .prompts import PromptTokens
from .protocols import Denoiser, TextContext, TextEncoder
from .timesteps import draw


@dataclasses.dataclass(frozen=True)
class ProbeGroup:
    """Probes of one latent shape: everything of a batch, frozen."""

    latents: torch.Tensor
    noise: torch.Tensor
    sigmas: torch.Tensor
    prompts: tuple[int, ...]


class ProbeBank:
    """``size`` frozen probes over all pictures and the quantiles of the timestep density."""

    def __init__(
        self, groups: Sequence[ProbeGroup], prompts: Sequence[PromptTokens], loss: str, delta: float
    ) -> None:
        self.groups = tuple(groups)
        self.prompts = tuple(prompts)
        self.loss = loss
        self.delta = delta

    @classmethod
    def build(
        cls,
        dataset: Dataset,
        prompts: Sequence[PromptTokens],
        probabilities: torch.Tensor,
        denoiser: Denoiser,
        *,
        size: int,
        loss: str,
        delta: float,
        generator: torch.Generator,
    ) -> ProbeBank:
        """Draw the bank once: pictures in turn, timesteps at the middles of equal shares."""
        timesteps = draw(probabilities, size, None)
        timesteps = timesteps[torch.randperm(size, generator=generator)]
        noise_levels = denoiser.sigmas.cpu()[timesteps]
        shapes: dict[tuple[int, ...], list[int]] = {}
        chosen = [_picture(dataset, index) for index in range(size)]
        for index, picture in enumerate(chosen):
            shapes.setdefault(tuple(picture.mean.shape), []).append(index)
        groups = []
        for members in shapes.values():
            latents = torch.stack([chosen[index].mean for index in members])
            noise = torch.randn(latents.shape, generator=generator)
            groups.append(
                ProbeGroup(
                    latents.to(denoiser.device),
                    noise.to(denoiser.device),
                    noise_levels[members].to(denoiser.device),
                    tuple(index % len(prompts) for index in members),
                )
            )
        return cls(groups, prompts, loss, delta)

    @torch.no_grad()
    def measure(
        self,
        encoder: TextEncoder,
        denoiser: Denoiser,
        vectors: Mapping[str, torch.Tensor],
    ) -> float:
        """The bank's mean loss with these vectors; the same vectors give the same number."""
        text = encoder.encode(self.prompts, vectors)
        total, count = 0.0, 0
        for group in self.groups:
            rows = torch.tensor(group.prompts, device=text.context.device)
            pooled = None if text.pooled is None else text.pooled[rows]
            noisy = denoiser.add_noise(group.latents, group.noise, group.sigmas)
            denoised = denoiser.denoise(
                noisy, group.sigmas, TextContext(text.context[rows], pooled)
            )
            rest = losses.residual(denoised, group.latents, group.sigmas, denoiser.prediction)
            each = losses.penalty(rest, self.loss, self.delta)
            total += float(each.cpu().double().sum())
            count += each.shape[0]
        return total / count


def _picture(dataset: Dataset, index: int) -> CachedPicture:
    return dataset.pictures[index % len(dataset.pictures)]
