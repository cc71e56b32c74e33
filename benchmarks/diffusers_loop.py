"""The textual-inversion loop that diffusers documents, written from its description.

The whole token table is a parameter of AdamW (weight decay 0.01), every row but the new one is
written back after each step, a template is drawn for every picture, timesteps are uniform,
and every picture goes through the VAE again in every step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

TEMPLATES = ("a photo of a {}", "a rendering of a {}", "a picture of the {}", "a good photo of {}")


class DiffusersLoop:
    """One step is `step(pictures)`; `new_row` is the id of the word's row in every token table."""

    def __init__(
        self,
        texts: Sequence[torch.nn.Module],
        unet: torch.nn.Module,
        encode_pictures: Callable[[Tensor], Tensor],
        tokenize: Callable[[str], Sequence[int]],
        alphas: Tensor,
        new_row: int,
        *,
        learning_rate: float = 2e-3,
        seed: int = 0,
    ) -> None:
        self.texts, self.unet, self.alphas, self.new_row = texts, unet, alphas, new_row
        self.encode_pictures, self.tokenize = encode_pictures, tokenize
        unet.requires_grad_(False)
        for text in texts:
            text.requires_grad_(False)
        self.tables = [text.get_input_embeddings().weight for text in texts]
        for table in self.tables:
            table.requires_grad_(True)
        self.originals = [table.detach().clone() for table in self.tables]
        self.optimiser = torch.optim.AdamW(self.tables, lr=learning_rate, weight_decay=1e-2)
        self.random = random.Random(seed)

    def step(self, pictures: Tensor) -> float:
        """One optimiser step on `pictures` [n, 3, h, w] in 0..1; the loss."""
        with torch.no_grad():
            latents = self.encode_pictures(pictures)
        noise = torch.randn_like(latents)
        times = torch.randint(len(self.alphas), (len(latents),))
        alpha = self.alphas[times].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
        prompts = [self.random.choice(TEMPLATES) for _ in latents]
        conditions = self.condition(prompts, pictures)
        predicted = self.unet(noisy, times, **conditions).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self._restore()
        return float(loss.detach())

    def condition(self, prompts: Sequence[str], pictures: Tensor) -> dict[str, Any]:
        """What the network reads beside latents and timesteps."""
        return {"encoder_hidden_states": self.texts[0](self.ids(prompts)).last_hidden_state}

    def ids(self, prompts: Sequence[str]) -> Tensor:
        return torch.tensor([self.tokenize(prompt) for prompt in prompts])

    @torch.no_grad()
    def _restore(self) -> None:
        for table, original in zip(self.tables, self.originals, strict=True):
            others = torch.ones(len(table), dtype=torch.bool)
            others[self.new_row] = False
            table[others] = original[others]
