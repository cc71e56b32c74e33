"""Which prompt a picture is learnt with: its caption, or a template drawn anew every step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch

from . import prompts, tags
from .prompts import PLACEHOLDER, PromptError, PromptTokens
from .protocols import TextEncoder
from .recipe import Recipe
from .templates import templates

PROBE_PROMPTS = 2
MOST_KEPT = 4096


class Captioned(Protocol):
    """A picture as far as prompts are concerned."""

    @property
    def caption(self) -> str | None: ...
    @property
    def concept(self) -> int: ...


class Sentences:
    """Prompts for pictures, and their token rows, each tokenised once and checked.

    ``words`` are the names of the concepts that are learnt together; ``{name}`` stands for the
    vectors of one, rows ``i n .. (i + 1) n`` of all, ``{}`` for those of the picture's own. With
    a single concept ``{}`` is enough and ``words`` empty.
    """

    def __init__(self, recipe: Recipe, encoder: TextEncoder, words: Sequence[str] = ()) -> None:
        self.recipe = recipe
        self.encoder = encoder
        self.words = tuple(words)
        self.pattern = re.compile("|".join(re.escape(self._place(i)) for i in range(self.count)))
        self.known: dict[str, PromptTokens] = {}

    @property
    def count(self) -> int:
        """How many concepts are learnt together."""
        return max(1, len(self.words))

    def tokens(self, prompt: str) -> PromptTokens:
        """The token rows of a prompt; raises PromptError where a vector is cut off."""
        found = self.known.get(prompt)
        if found is None:
            found = self._tokenize(prompt)
            if len(self.known) >= MOST_KEPT:
                self.known.clear()
            self.known[prompt] = found
        return found

    def check(self, pictures: Iterable[Captioned]) -> list[PromptTokens]:
        """Tokenise every prompt a run may draw; raises PromptError where a vector is cut off."""
        wanted: dict[str, None] = {}
        bare: dict[int, None] = {}
        for picture in pictures:
            if picture.caption is None:
                bare[picture.concept] = None
            else:
                wanted[self.captioned(picture)] = None
        for concept in bare:
            wanted |= {self._own(each, concept): None for each in templates(self.recipe.kind)}
        return [self.tokens(prompt) for prompt in wanted]

    def probes(self, pictures: Sequence[Captioned]) -> list[str]:
        """A prompt for every picture that never changes: its caption, or one of a few templates."""
        every = templates(self.recipe.kind)
        few = [every[index * len(every) // PROBE_PROMPTS] for index in range(PROBE_PROMPTS)]
        return [
            self._own(few[index % PROBE_PROMPTS], picture.concept)
            if picture.caption is None
            else self.captioned(picture)
            for index, picture in enumerate(pictures)
        ]

    def draw(
        self, pictures: Sequence[Captioned], limit: int, generator: torch.Generator
    ) -> list[str]:
        """A prompt for every picture; templates are at most ``limit`` different ones."""
        recipe = self.recipe
        sentences = templates(recipe.kind)
        order = torch.randperm(len(sentences), generator=generator).tolist()
        drawn = []
        for index, picture in enumerate(pictures):
            if recipe.bare_share and _chance(generator) < recipe.bare_share:
                drawn.append(self._place(picture.concept))
            elif picture.caption is None:
                sentence = sentences[order[index % limit % len(order)]]
                drawn.append(self._own(sentence, picture.concept))
            else:
                drawn.append(self._varied(self.captioned(picture), generator))
        return drawn

    def captioned(self, picture: Captioned) -> str:
        """The caption of a picture as a prompt; its word goes in front where none is named."""
        text = " ".join((picture.caption or "").split())
        text = self._own(text, picture.concept)
        if self.pattern.search(text):
            return text
        word = self._place(picture.concept)
        return f"{word}, {text}" if text else word

    def _varied(self, prompt: str, generator: torch.Generator) -> str:
        """The caption's tags shuffled and thinned out, as long as every vector still fits."""
        recipe = self.recipe
        if not (recipe.tag_shuffle or recipe.tag_dropout):
            return prompt
        varied = tags.vary(
            prompt,
            keep=recipe.tags_kept,
            shuffle=recipe.tag_shuffle,
            dropout=recipe.tag_dropout,
            pinned=self.pattern,
            generator=generator,
        )
        try:
            self.tokens(varied)
        except PromptError:
            return prompt
        return varied

    def _place(self, concept: int) -> str:
        return "{" + self.words[concept] + "}" if self.words else PLACEHOLDER

    def _own(self, text: str, concept: int) -> str:
        return text.replace(PLACEHOLDER, self._place(concept)) if self.words else text

    def _tokenize(self, prompt: str) -> PromptTokens:
        num_vectors = self.recipe.num_vectors
        places = [self._place(index) for index in range(self.count)]
        named = [places.index(each) for each in self.pattern.findall(prompt)]
        text = self.pattern.sub(lambda match: PLACEHOLDER, prompt)
        tokens = self.encoder.tokenize(text, num_vectors)
        if self.count > 1:
            tokens = {
                key: prompts.renumbered(row, named, num_vectors) for key, row in tokens.items()
            }
        prompts.check_survival(text, tokens, num_vectors * len(set(named)))
        return tokens


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
