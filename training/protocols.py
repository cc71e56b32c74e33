"""What the engine is handed: a text encoder and a denoiser, both differentiable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch

from .pictures import Frame
from .prompts import PromptTokens


class TextContext(NamedTuple):
    """What the denoiser is conditioned on."""

    context: torch.Tensor
    """``[rows, tokens, width]``"""
    pooled: torch.Tensor | None
    """``[rows, width]``, taken at the end token, or None where the model has no use for it."""


class TextEncoder(Protocol):
    """Rows of token ids with vectors spliced in -> context. Differentiable in the vectors."""

    @property
    def keys(self) -> Sequence[str]:
        """The encoder keys, e.g. ``('clip_l',)``."""
        ...

    def vocabulary_norm(self, key: str) -> float:
        """The mean L2 norm of the rows of this encoder's token table."""
        ...

    def token_vectors(self, text: str) -> Mapping[str, torch.Tensor]:
        """The token-table rows ``[tokens, d]`` of a text, by encoder key, float32."""
        ...

    def tokenize(self, prompt: str, num_vectors: int) -> PromptTokens:
        """Token rows of a prompt whose ``{}`` stands for the vectors."""
        ...

    def encode(
        self, prompts: Sequence[PromptTokens], vectors: Mapping[str, torch.Tensor]
    ) -> TextContext:
        """Contexts of these prompts, encoded as one batch."""
        ...


class Denoiser(Protocol):
    """Noisy latents, sigma and context -> denoised latents. Differentiable in the context."""

    @property
    def sigmas(self) -> torch.Tensor:
        """The noise levels of timesteps 0..T-1, rising, ``[T]`` float32."""
        ...

    @property
    def prediction(self) -> str:
        """What the network itself predicts: 'eps', 'v' or 'flow'."""
        ...

    @property
    def device(self) -> torch.device:
        """Where latents, noise and sigmas must be."""
        ...

    @property
    def loss_scale(self) -> float:
        """A power of two by which a loss is raised before the backward pass, 1 for none.

        Half-precision networks need it, or small gradients vanish on their way.
        """
        ...

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, sigmas: torch.Tensor
    ) -> torch.Tensor:
        """Noisy latents ``[B, C, h, w]`` at noise levels ``[B]``."""
        ...

    def denoise(
        self,
        noisy: torch.Tensor,
        sigmas: torch.Tensor,
        text: TextContext,
        frames: Sequence[Frame | None] = (),
    ) -> torch.Tensor:
        """The model's estimate of the clean latents ``[B, C, h, w]``, float32.

        ``frames`` say how each picture was cut, for networks that want to know; without them
        the latents are taken for whole pictures.
        """
        ...

    def save_memory(self) -> bool:
        """From now on keep less for the backward pass and compute it again there instead.

        False where that was done before, or can't be done.
        """
        ...
