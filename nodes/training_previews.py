"""Pictures of a word on the node: at fixed seeds, with the initializer text's beside them."""

from __future__ import annotations

import logging

import torch
from PIL import Image

from ..embeddings_io.embedding import Embedding
from ..host import previews
from ..host.progress import Interrupted
from ..training.dataset import CachedPicture
from ..training.prompts import PLACEHOLDER
from ..training.recipe import Recipe
from ..training.templates import preview_prompts
from .training_request import TrainingRequest

log = logging.getLogger(__name__)

FINAL_PREVIEWS = 2
QUICK_STEPS, FULL_STEPS = 10, 20
MOST_PROMPTS = 4


class PreviewMaker:
    """Samples with the node's own models; a preview that fails never ends a run."""

    def __init__(self, request: TrainingRequest, recipe: Recipe, example: CachedPicture) -> None:
        self.request = request
        self.recipe = recipe
        channels, height, width = example.mean.shape
        self.shape = (channels, height, width)
        self.before: list[torch.Tensor] | None = None

    def during(self, initializer_text: str, embedding: Embedding) -> torch.Tensor | None:
        """Rows of two pictures ``[prompts, H, 2 W, 3]``: the initializer's and the word's."""
        if self.before is None:
            self.before = self._each(initializer_text, ())
        after = self._each(embedding.prompt_text, (embedding,))
        if not self.before or len(after) != len(self.before):
            return None
        pairs = zip(self.before, after, strict=True)
        return torch.cat([torch.cat(pair, dim=2) for pair in pairs])

    def final(self, initializer_text: str, embedding: Embedding) -> torch.Tensor | None:
        """Pictures of the initializer text, then of the learnt word, at the same seeds."""
        prompts = preview_prompts(self.recipe.kind, PLACEHOLDER)
        before = self._sampled(prompts, initializer_text, (), FINAL_PREVIEWS, FULL_STEPS)
        after = self._sampled(
            prompts, embedding.prompt_text, (embedding,), FINAL_PREVIEWS, FULL_STEPS
        )
        return None if before is None or after is None else torch.cat([before, after])

    def prompts(self) -> list[tuple[str, str]]:
        """The (prompt, negative prompt) of every row, ``{}`` standing for the word."""
        usual = preview_prompts(self.recipe.kind, PLACEHOLDER)
        own = [line.strip() for line in self.recipe.preview_prompts.splitlines() if line.strip()]
        if self.recipe.kind == "negative":
            return [(line, usual[1]) for line in own[:MOST_PROMPTS]] or [usual]
        return [(line, "") for line in own[:MOST_PROMPTS]] or [usual]

    def _each(self, word: str, known: tuple[Embedding, ...]) -> list[torch.Tensor]:
        found = [self._sampled(prompts, word, known, 1, QUICK_STEPS) for prompts in self.prompts()]
        return [each for each in found if each is not None]

    def _sampled(
        self,
        prompts: tuple[str, str],
        word: str,
        known: tuple[Embedding, ...],
        count: int,
        steps: int,
    ) -> torch.Tensor | None:
        """Pictures ``[count, H, W, 3]``, or None where sampling fails."""
        request = self.request
        positive, negative = (each.replace(PLACEHOLDER, word) for each in prompts)
        try:
            return previews.sample(
                request.model,
                request.clip,
                request.vae,
                positive,
                previews.Sampling(self.shape, self.recipe.seed, steps),
                count=count,
                negative=negative,
                embeddings=known,
            )
        except Interrupted:
            raise
        except Exception as error:
            log.warning("The preview failed: %s", error)
            return None


def sheet(rows: torch.Tensor) -> Image.Image:
    """Rows of pictures ``[rows, H, W, 3]`` below each other, as one Pillow image."""
    return previews.as_pil(rows.flatten(0, 1))
