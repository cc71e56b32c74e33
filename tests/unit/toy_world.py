"""A text encoder and a denoiser of a few numbers, for testing the engine without ComfyUI.

Every word is a direction in 8 dimensions. A clean latent is a fixed linear picture of the word it
shows, and the denoiser answers with the picture of the words it reads, so the loss is least
where the vector points at the word in the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from textual_inversion.training.dataset import CachedPicture
from textual_inversion.training.prompts import PLACEHOLDER, PromptTokens, build_row
from textual_inversion.training.protocols import TextContext

KEY = "clip_l"
WIDTH = 8
SHAPE = (2, 4, 4)
START, END, PAD = 90, 91, 91
NORM = 0.4


class ToyEncoder:
    """Words are numbers by their letters; a context is the rows' vectors themselves."""

    def __init__(self, window: int = 16) -> None:
        generator = torch.Generator().manual_seed(5)
        table = torch.randn(92, WIDTH, generator=generator)
        self.table = NORM * table / table.norm(dim=-1, keepdim=True)
        self.window = window
        self.encoded: list[int] = []
        self.seen: list[PromptTokens] = []

    @property
    def keys(self) -> Sequence[str]:
        return (KEY,)

    def vocabulary_norm(self, key: str) -> float:
        return NORM

    def ids(self, text: str) -> list[int]:
        return [sum(map(ord, word)) % 90 for word in text.split()]

    def token_vectors(self, text: str) -> Mapping[str, torch.Tensor]:
        return {KEY: self.table[torch.tensor(self.ids(text), dtype=torch.long)]}

    def tokenize(self, prompt: str, num_vectors: int) -> PromptTokens:
        segments = [self.ids(part) for part in prompt.split(PLACEHOLDER)]
        row = build_row(segments, num_vectors, start=START, end=END, pad=PAD, window=self.window)
        return {KEY: row}

    def encode(
        self, prompts: Sequence[PromptTokens], vectors: Mapping[str, torch.Tensor]
    ) -> TextContext:
        self.encoded.append(len(prompts))
        self.seen += prompts
        rows = []
        for prompt in prompts:
            items = prompt[KEY].filled(vectors[KEY])
            slots = [item for item in items if isinstance(item, torch.Tensor)]
            read = torch.stack(slots).mean(dim=0) if slots else torch.zeros(WIDTH)
            rows.append(read.expand(self.window, -1))
        return TextContext(torch.stack(rows), None)


class ToyDenoiser:
    """Answers between the noisy latent and the picture of the context, by how noisy it is."""

    def __init__(self, prediction: str = "eps") -> None:
        generator = torch.Generator().manual_seed(6)
        self.camera = torch.randn(WIDTH, *SHAPE, generator=generator)
        self._sigmas = torch.logspace(-1.5, 1.1, 100)
        self._prediction = prediction
        self.drawn: list[torch.Tensor] = []
        self.latents: list[torch.Tensor] = []
        self.spoil: set[int] = set()
        self.room = 10_000
        self.shortage: Exception = torch.OutOfMemoryError("no room")
        self.saving_memory = False

    @property
    def sigmas(self) -> torch.Tensor:
        return self._sigmas

    @property
    def prediction(self) -> str:
        return self._prediction

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def loss_scale(self) -> float:
        return 1.0

    def save_memory(self) -> bool:
        if self.saving_memory:
            return False
        self.saving_memory = True
        return True

    def picture(self, vectors: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bw,wchx->bchx", vectors, self.camera)

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, sigmas: torch.Tensor
    ) -> torch.Tensor:
        self.latents.append(latents)
        self.drawn.append(sigmas)
        return latents + noise * sigmas.view(-1, 1, 1, 1)

    def denoise(
        self, noisy: torch.Tensor, sigmas: torch.Tensor, text: TextContext, frames=()
    ) -> torch.Tensor:
        needed = noisy.shape[0] * (1 if self.saving_memory else 2)
        if torch.is_grad_enabled() and needed > self.room:
            raise self.shortage
        found = self.picture(text.context.mean(dim=1))
        if len(self.drawn) in self.spoil:
            return found * float("nan")
        trust = 1 / (1 + 4 * sigmas.square()).view(-1, 1, 1, 1)
        return trust * noisy + (1 - trust) * found


def pictures(
    encoder: ToyEncoder, denoiser: ToyDenoiser, word: str = "fox", count: int = 6
) -> list[CachedPicture]:
    """Latents of a word, each a little different."""
    generator = torch.Generator().manual_seed(7)
    clean = denoiser.picture(encoder.token_vectors(word)[KEY])[0]
    return [
        CachedPicture(clean + 0.02 * torch.randn(SHAPE, generator=generator), None, index)
        for index in range(count)
    ]
