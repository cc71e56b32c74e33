"""Pictures of a word on the node: at fixed seeds, with the initializer text's beside them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

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
MOST_ROWS = 4
SMALLEST_LETTERS = 10


class PreviewMaker:
    """Samples with the node's own models; a preview that fails never ends a run."""

    def __init__(self, request: TrainingRequest, recipe: Recipe, example: CachedPicture) -> None:
        self.request = request
        self.recipe = recipe
        channels, height, width = example.mean.shape
        self.shape = (channels, height, width)
        self.before: dict[str, list[torch.Tensor]] = {}
        self.turns = 0

    def during(self, words: Sequence[tuple[str, Embedding]]) -> dict[str, torch.Tensor]:
        """Rows of two pictures ``[rows, H, 2 W, 3]`` by name: the initializer's and the word's.

        ``words`` are initializer texts and what was learnt from them. Several words share the
        rows of one preview, with as many prompts as there is room for; more words than rows take
        turns. A word whose pictures failed is left out.
        """
        prompts = self.prompts()[: max(1, MOST_ROWS // len(words))]
        known = tuple(embedding for _, embedding in words)
        rows = {}
        for initializer_text, embedding in self._whose_turn(words):
            if initializer_text not in self.before:
                self.before[initializer_text] = self._each(prompts, initializer_text, ())
            before = self.before[initializer_text]
            after = self._each(prompts, embedding.prompt_text, known)
            if before and len(after) == len(before):
                pairs = zip(before, after, strict=True)
                rows[embedding.name] = torch.cat([torch.cat(pair, dim=2) for pair in pairs])
        return rows

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
            return [(line, usual[1]) for line in own[:MOST_ROWS]] or [usual]
        return [(line, "") for line in own[:MOST_ROWS]] or [usual]

    def _whose_turn(self, words: Sequence[tuple[str, Embedding]]) -> list[tuple[str, Embedding]]:
        """The words of this preview, of which every one is in some preview."""
        count = min(len(words), MOST_ROWS)
        first, self.turns = self.turns, self.turns + count
        return [words[(first + number) % len(words)] for number in range(count)]

    def _each(
        self, prompts: Sequence[tuple[str, str]], word: str, known: tuple[Embedding, ...]
    ) -> list[torch.Tensor]:
        found = [self._sampled(each, word, known, 1, QUICK_STEPS) for each in prompts]
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


def sheet(shown: Mapping[str, torch.Tensor], *, named: bool) -> Image.Image:
    """The rows ``[rows, H, W, 3]`` of every word below each other, with its name if ``named``."""
    picture = previews.as_pil(torch.cat(list(shown.values())).flatten(0, 1))
    if named:
        draw, top = ImageDraw.Draw(picture), 0
        for name, rows in shown.items():
            size = max(SMALLEST_LETTERS, rows.shape[1] // 10)
            font = ImageFont.load_default(size)
            place = (size // 2, top + size // 2)
            draw.text(place, name, "white", font, stroke_width=size // 10, stroke_fill="black")
            top += rows.shape[0] * rows.shape[1]
    return picture
