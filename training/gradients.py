"""The loss of a step and its gradient, in less memory where it runs out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch

from .batches import Batch
from .objective import Objective
from .prompts import PromptTokens
from .protocols import Denoiser, TextContext, TextEncoder
from .pulls import SMALLEST, equalised, lengths
from .sentences import Sentences


@dataclasses.dataclass(frozen=True)
class StepGradients:
    """What a step found out.

    ``loss`` is the step's loss and ``each`` that of every picture ``[B]``; ``gradients`` follow
    the vectors' order; ``pulls`` is dL/d context ``[B, tokens, width]``. None where no gradient
    reached. ``length`` is the mean length of the pulls where they were made equal.
    """

    loss: torch.Tensor
    each: torch.Tensor
    gradients: Sequence[torch.Tensor | None]
    pulls: torch.Tensor | None
    length: torch.Tensor | None = None


class GradientSource:
    """Text encoder, denoiser and objective as one function of the vectors.

    The way back is taken in two parts, through the network to the text and through the text
    encoder, since the pictures' pulls may be made equal between them (`pulls.py`); not those of a
    contrast, which weighs its pictures itself. ``pictures_at_once`` below the batch size spreads a
    step over several passes, whose gradients add up to that of the whole batch.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        denoiser: Denoiser,
        sentences: Sentences,
        objective: Objective,
        empty: PromptTokens | None,
    ) -> None:
        self.encoder = encoder
        self.denoiser = denoiser
        self.sentences = sentences
        self.objective = objective
        self.empty = empty
        self.equal_pulls = objective.recipe.equal_pulls and empty is None
        self.pictures_at_once: int | None = None

    def step(
        self,
        batch: Batch,
        trained: Mapping[str, torch.Tensor],
        fixed: Mapping[str, torch.Tensor],
        scale: torch.Tensor,
    ) -> StepGradients:
        """The loss of ``batch``, and its gradient in the ``trained`` vectors ``[n, d]``.

        ``scale`` raises the loss on its way back, and is taken off the gradients again.
        """
        parts = [
            self._pass(part, trained, fixed, scale, len(part.pictures) / len(batch.pictures))
            for part in self._parts(batch)
        ]
        if len(parts) == 1:
            return parts[0]
        pulls = [part.pulls for part in parts if part.pulls is not None]
        gradients = zip(*_of_one_length(parts), strict=True)
        return StepGradients(
            torch.stack([part.loss for part in parts]).sum(),
            torch.cat([part.each for part in parts]),
            [_sum(each) for each in gradients],
            torch.cat(pulls) if len(pulls) == len(parts) else None,
        )

    def _pass(
        self,
        batch: Batch,
        trained: Mapping[str, torch.Tensor],
        fixed: Mapping[str, torch.Tensor],
        scale: torch.Tensor,
        share: float,
    ) -> StepGradients:
        leaves = {key: each.detach().requires_grad_(True) for key, each in trained.items()}
        vectors = {**fixed, **leaves}
        text = self._encode(batch.prompts, vectors)
        each = self._losses(batch, text)
        loss = self._reduced(batch, each, vectors)
        loss = loss if share == 1 else share * loss
        texts = [each for each in text if each is not None and each.requires_grad]
        if not texts or not loss.requires_grad:
            return StepGradients(loss, each, [None] * len(leaves), None)
        pulls = torch.autograd.grad(scale * loss, texts, allow_unused=True)
        reached = {text: pull for text, pull in zip(texts, pulls, strict=True) if pull is not None}
        length, passed = None, list(reached.values())
        if self.equal_pulls and passed:
            length = lengths(passed)
            passed = equalised(passed, length, self.objective.weights(self._sent(batch.sigmas)))
            length = length.mean() / scale
        gradients = torch.autograd.grad(
            list(reached), list(leaves.values()), passed, allow_unused=True
        )
        return StepGradients(
            loss.detach(),
            each.detach(),
            [one if one is None else one / scale for one in gradients],
            pulls[0] if pulls[0] is None else pulls[0] / scale,
            length,
        )

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """The batch whole or in parts; a contrast keeps each bad picture with its good one."""
        count = len(batch.pictures) if self.empty is None else len(batch.pictures) // 2
        size = self.pictures_at_once or count
        if size >= count:
            yield batch
            return
        for begin in range(0, count, size):
            rows = list(range(begin, min(begin + size, count)))
            yield batch.rows(rows if self.empty is None else [*rows, *(r + count for r in rows)])

    def _losses(self, batch: Batch, text: TextContext) -> torch.Tensor:
        """The loss of each picture of the batch ``[B]`` with a row of ``text`` each."""
        latents, sigmas = self._sent(batch.latents), self._sent(batch.sigmas)
        noisy = self.denoiser.add_noise(latents, self._sent(batch.noise), sigmas)
        frames = [each.frame for each in batch.pictures]
        denoised = self.denoiser.denoise(noisy, sigmas, text, frames)
        masks = None if batch.masks is None else self._sent(batch.masks)
        return self.objective.losses(denoised, latents, sigmas, masks)

    def _reduced(
        self, batch: Batch, each: torch.Tensor, vectors: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The loss of the step; with good pictures it needs the empty prompt's losses too."""
        if self.empty is None:
            return self.objective.reduce(each)
        with torch.no_grad():
            text = self.encoder.encode([self.empty], vectors)
            rows = torch.zeros(each.shape[0], dtype=torch.long, device=text.context.device)
            pooled = None if text.pooled is None else text.pooled[rows]
            empty = self._losses(batch, TextContext(text.context[rows], pooled))
        return self.objective.reduce(each, empty)

    def _sent(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the denoiser's device, without waiting for what the device is doing."""
        device = self.denoiser.device
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    def _encode(self, drawn: Sequence[str], vectors: Mapping[str, torch.Tensor]) -> TextContext:
        """One context per prompt; every different prompt is encoded once, in one batch."""
        unique = list(dict.fromkeys(drawn))
        text = self.encoder.encode([self.sentences.tokens(prompt) for prompt in unique], vectors)
        if len(unique) == len(drawn):
            return text
        rows = torch.tensor([unique.index(prompt) for prompt in drawn], device=text.context.device)
        return TextContext(text.context[rows], None if text.pooled is None else text.pooled[rows])


def _of_one_length(parts: Sequence[StepGradients]) -> list[list[torch.Tensor | None]]:
    """The gradients of each part; pulls made equal within a part are made so over all."""
    known = [part.length for part in parts if part.length is not None]
    if len(known) < len(parts):
        return [list(part.gradients) for part in parts]
    mean = torch.stack(known).mean()
    factors = [mean / length.clamp_min(SMALLEST) for length in known]
    return [
        [one if one is None else factor * one for one in part.gradients]
        for part, factor in zip(parts, factors, strict=True)
    ]


def _sum(gradients: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    present = [each for each in gradients if each is not None]
    return torch.stack(present).sum(dim=0) if present else None
