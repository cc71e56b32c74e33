"""The textual-inversion loop that diffusers documents, written from its description.

The whole token table is a parameter of AdamW (weight decay 0.01), every row but the new ones is
written back after each step, a template is drawn for every picture, timesteps are uniform,
and every picture goes through the VAE again in every step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TEMPLATES = ("a photo of a {}", "a rendering of a {}", "a picture of the {}", "a good photo of {}")


class DiffusersLoop:
    """One step is `step(pictures)`; `new_row` is the id of the word's row in the token table."""

    def __init__(
        self,
        text: torch.nn.Module,
        unet: torch.nn.Module,
        encode_pictures: Callable[[Tensor], Tensor],
        tokenize: Callable[[str], Sequence[int]],
        alphas: Tensor,
        new_row: int,
        *,
        learning_rate: float = 2e-3,
        seed: int = 0,
    ) -> None:
        self.text, self.unet, self.alphas, self.new_row = text, unet, alphas, new_row
        self.encode_pictures, self.tokenize = encode_pictures, tokenize
        unet.requires_grad_(False)
        text.requires_grad_(False)
        self.table = text.get_input_embeddings().weight
        self.table.requires_grad_(True)
        self.original = self.table.detach().clone()
        self.optimiser = torch.optim.AdamW([self.table], lr=learning_rate, weight_decay=1e-2)
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
        ids = torch.tensor([self.tokenize(prompt) for prompt in prompts])
        context = self.text(ids).last_hidden_state
        predicted = self.unet(noisy, times, encoder_hidden_states=context).sample
        loss = torch.nn.functional.mse_loss(predicted, noise)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            others = torch.ones(len(self.table), dtype=torch.bool)
            others[self.new_row] = False
            self.table[others] = self.original[others]
        return float(loss.detach())
