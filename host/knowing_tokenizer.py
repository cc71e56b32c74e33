"""ComfyUI's tokenizers, taught the words of a graph.

A taught tokenizer reads references to its words as people write them, beside commas, quotes and
brackets too, resolves them before it looks on disk, and keeps the vectors of one embedding in one
window. Text without its words gives the tokens that it gave before.

Where ComfyUI looks up embeddings, its own look-up answers with the words' vectors, and white space
around them is what it makes of it. Where it does not, the vocabulary gives vectors for words, and
everything around them stays as it is written.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from ..embeddings_io.names import without_extension
from ..embeddings_io.references import expand, leading_name
from ..embeddings_io.unweighted import expand_unweighted
from .splicing import Splicing
from .windows import Row, has_windows, joined_windows, without_word_ids, wrapped_vectors

LOOK_UP = "_try_get_embedding"
"""The method by which ComfyUI's tokenizers turn the text behind 'embedding:' into vectors."""


def is_part(value: object) -> bool:
    """True for a tokenizer of one text encoder, which is what looks up embeddings."""
    return hasattr(value, LOOK_UP) and hasattr(value, "embedding_key")


def taught(part: Any, words: Mapping[str, torch.Tensor]) -> Any:
    """A copy of a tokenizer that knows `words`, vectors [n, d] each, beside those it knew."""
    knowing = copy.copy(part)
    knowing.__class__ = _knowing_class(type(part))
    knowing.words = {**getattr(part, "words", {}), **words}
    if not hasattr(part, "words"):
        knowing.reads_files = part.embedding_directory is not None
    if part.embedding_directory is None and has_windows(part):
        knowing.embedding_directory = []
    elif part.embedding_directory is None:
        knowing.tokenizer = Splicing.over(part, knowing.words, knowing.known)
        knowing.disable_weights = not _weighs(part)
    return knowing


class Knowing:
    """What a taught tokenizer does otherwise; mixed into ComfyUI's own class."""

    words: dict[str, torch.Tensor]
    reads_files: bool

    def tokenize_with_weights(
        self, text: str, return_word_ids: bool = False, *args: Any, **kwargs: Any
    ) -> list[Row]:
        weighs = not kwargs.get("disable_weights", getattr(self, "disable_weights", False))
        text = (expand if weighs else expand_unweighted)(text, self.known)
        tokenize = super().tokenize_with_weights  # type: ignore[misc]
        if not has_windows(self):
            rows = tokenize(text, return_word_ids, *args, **kwargs)
            return wrapped_vectors(rows) if _is_llm(self) else rows
        rows = joined_windows(tokenize(text, True, *args, **kwargs), self)
        return rows if return_word_ids else without_word_ids(rows)

    def known(self, name: str) -> str | None:
        """The word that a name written in a prompt means, or None."""
        name = name.replace("\\", "/")
        return next((one for one in (name, without_extension(name)) if one in self.words), None)

    def _try_get_embedding(self, embedding_name: str) -> tuple[Any, ...]:
        run = (embedding_name.split() or [""])[0]
        known = leading_name(run, self.known)
        if known is not None:
            rest = " ".join(embedding_name.lstrip()[known[1] :].split())
            return self._answer(self.words[known[2]], known[2], rest)
        if not run:
            return self._answer(None, "", "")
        if not self.reads_files:
            return self._answer(None, run, f"embedding:{embedding_name}")
        return super()._try_get_embedding(embedding_name)  # type: ignore[misc]

    def _answer(self, rows: torch.Tensor | None, name: str, rest: str) -> tuple[Any, ...]:
        """As this ComfyUI's look-up answers: (vectors, rest), or since 0.28 with the name."""
        return (rows, rest) if _answers_two(type(self)) else (rows, name, rest)


def _is_llm(part: Any) -> bool:
    """True where no end token is added; such encoders look for numbers among their tokens, and
    some, Qwen Image and Hunyuan Video among them, fail on a bare tensor.
    """
    return not part.tokenizer_adds_end_token


def _weighs(part: Any) -> bool:
    """False for a tokenizer that reads the brackets of weights as ordinary characters."""
    rows = part.tokenize_with_weights("(a:2)")
    return any(weight != 1.0 for row in rows for _, weight, *_ in row)


@lru_cache(maxsize=64)
def _knowing_class(tokenizer: type) -> type:
    if issubclass(tokenizer, Knowing):
        return tokenizer
    return type(tokenizer.__name__, (Knowing, tokenizer), {"__module__": tokenizer.__module__})


@lru_cache(maxsize=64)
def _answers_two(knowing: type) -> bool:
    probe = object.__new__(knowing.__mro__[2])
    probe.embedding_directory = []
    probe.embedding_size, probe.embedding_key = 0, ""
    return len(getattr(probe, LOOK_UP)("-")) == 2
