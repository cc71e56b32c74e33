"""The probe bank: fixed (picture, noise, timestep, prompt) sets, the one honest curve.

The training loss of a step is dominated by which noise and timestep were drawn; with all of
them frozen, what is left is the vectors' doing (DVAR, arXiv 2302.04841).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from .batches import stacked_masks
from .dataset import CachedPicture, Dataset
from .objective import Objective
from .pictures import Frame
from .prompts import PromptTokens
from .protocols import Denoiser, TextContext, TextEncoder
from .sentences import Sentences
from .timesteps import draw


@dataclasses.dataclass(frozen=True)
class ProbeGroup:
    """Probes of one latent shape: everything of a batch, frozen.

    In a contrast the second half are the good pictures, as in a batch.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    sigmas: torch.Tensor
    prompts: tuple[int, ...]
    masks: torch.Tensor | None = None
    frames: tuple[Frame | None, ...] = ()


class ProbeBank:
    """``size`` frozen probes over all pictures and the quantiles of the timestep density."""

    def __init__(
        self,
        groups: Sequence[ProbeGroup],
        prompts: Sequence[PromptTokens],
        objective: Objective,
        empty: PromptTokens | None = None,
    ) -> None:
        self.groups = tuple(groups)
        self.prompts = tuple(prompts)
        self.objective = objective
        self.empty = empty
        self._empty_losses: list[torch.Tensor] | None = None
        self.rows_at_once: int | None = None

    @classmethod
    def build(
        cls,
        dataset: Dataset,
        sentences: Sentences,
        probabilities: torch.Tensor,
        denoiser: Denoiser,
        *,
        size: int,
        objective: Objective,
        generator: torch.Generator,
        good: Dataset | None = None,
        empty: PromptTokens | None = None,
    ) -> ProbeBank:
        """Draw the bank once: pictures in turn, timesteps at the middles of equal shares.

        With ``good`` pictures the bank measures the contrast, with ``empty`` as the prompt of no
        words.
        """
        timesteps = draw(probabilities, size, None)
        timesteps = timesteps[torch.randperm(size, generator=generator)]
        noise_levels = denoiser.sigmas.cpu()[timesteps]
        shapes: dict[tuple[int, ...], list[int]] = {}
        chosen = [_picture(dataset, index) for index in range(size)]
        prompts = sentences.probes(chosen)
        different = list(dict.fromkeys(prompts))
        for index, picture in enumerate(chosen):
            shapes.setdefault(tuple(picture.mean.shape), []).append(index)
        groups = []
        for members in shapes.values():
            pictures = [chosen[index] for index in members]
            latents = torch.stack([each.mean for each in pictures])
            noise = torch.randn(latents.shape, generator=generator)
            sigmas = noise_levels[members]
            places = tuple(different.index(prompts[index]) for index in members)
            if good is not None:
                others = good.draw(len(members), generator, shape=tuple(latents.shape[1:]))
                latents = torch.cat([latents, torch.stack([each.mean for each in others])])
                noise, sigmas, places = noise.repeat(2, 1, 1, 1), sigmas.repeat(2), places * 2
                pictures += others
            masks = stacked_masks(pictures)
            groups.append(
                ProbeGroup(
                    latents.to(denoiser.device),
                    noise.to(denoiser.device),
                    sigmas.to(denoiser.device),
                    places,
                    None if masks is None else masks.to(denoiser.device),
                    tuple(each.frame for each in pictures),
                )
            )
        tokens = [sentences.tokens(prompt) for prompt in different]
        return cls(groups, tokens, objective, None if good is None else empty)

    @torch.no_grad()
    def measure(
        self,
        encoder: TextEncoder,
        denoiser: Denoiser,
        vectors: Mapping[str, torch.Tensor],
    ) -> float:
        """The bank's mean loss with these vectors; the same vectors give the same number."""
        if self.empty is not None and self._empty_losses is None:
            self._empty_losses = self._losses(encoder, denoiser, vectors, [self.empty])
        each = self._losses(encoder, denoiser, vectors, self.prompts)
        total, count = 0.0, 0
        for index, found in enumerate(each):
            if self._empty_losses is not None:
                found = self.objective.reduce(found, self._empty_losses[index]).view(1)
                found = found.expand(len(self.groups[index].prompts))
            total += float(found.cpu().double().sum())
            count += found.shape[0]
        return total / count

    def _losses(
        self,
        encoder: TextEncoder,
        denoiser: Denoiser,
        vectors: Mapping[str, torch.Tensor],
        prompts: Sequence[PromptTokens],
    ) -> list[torch.Tensor]:
        """The loss of every probe under these prompts, group by group."""
        text = encoder.encode(prompts, vectors)
        found = []
        for group in self.groups:
            count = len(group.prompts)
            size = self.rows_at_once or count
            parts = [
                self._part(denoiser, group, text, slice(begin, begin + size), len(prompts))
                for begin in range(0, count, size)
            ]
            found.append(parts[0] if len(parts) == 1 else torch.cat(parts))
        return found

    def _part(
        self, denoiser: Denoiser, group: ProbeGroup, text: TextContext, part: slice, prompts: int
    ) -> torch.Tensor:
        """The losses of some rows of a group."""
        places = [place % prompts for place in group.prompts[part]]
        rows = torch.tensor(places, device=text.context.device)
        own = TextContext(text.context[rows], None if text.pooled is None else text.pooled[rows])
        latents, sigmas = group.latents[part], group.sigmas[part]
        noisy = denoiser.add_noise(latents, group.noise[part], sigmas)
        denoised = denoiser.denoise(noisy, sigmas, own, group.frames[part])
        masks = None if group.masks is None else group.masks[part]
        return self.objective.losses(denoised, latents, sigmas, masks)


def _picture(dataset: Dataset, index: int) -> CachedPicture:
    return dataset.pictures[index % len(dataset.pictures)]
