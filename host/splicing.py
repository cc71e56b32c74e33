"""A vocabulary that gives vectors for words, for tokenizers that look up no embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from ..embeddings_io.references import MARK, leading_name

Known = Callable[[str], "str | None"]


class Splicing:
    """In place of a tokenizer's vocabulary: text in, numbers out, and vectors where words stand.

    Whatever is asked of it otherwise, and text without words, goes to the vocabulary itself.
    """

    def __init__(
        self, vocabulary: Any, start_tokens: int, words: Mapping[str, torch.Tensor], known: Known
    ) -> None:
        self.vocabulary = vocabulary
        self.start_tokens = start_tokens
        self.words = words
        self.known = known

    @classmethod
    def over(cls, part: Any, words: Mapping[str, torch.Tensor], known: Known) -> Splicing:
        """For a tokenizer that ComfyUI made; one that splices already is given other words."""
        vocabulary = part.tokenizer
        if isinstance(vocabulary, cls):
            vocabulary = vocabulary.vocabulary
        return cls(vocabulary, part.tokens_start, words, known)

    def __getattr__(self, name: str) -> Any:
        if name == "vocabulary" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.vocabulary, name)

    def __call__(self, text: Any, *args: Any, **kwargs: Any) -> Any:
        pieces = list(self._pieces(text)) if isinstance(text, str) else []
        if len(pieces) < 2:
            return self.vocabulary(text, *args, **kwargs)
        empty = list(self.vocabulary("", *args, **kwargs)["input_ids"])
        start, end = empty[: self.start_tokens], empty[self.start_tokens :]
        ids: list[Any] = []
        for literal, word in pieces:
            if literal:
                found = list(self.vocabulary(literal, *args, **kwargs)["input_ids"])
                ids += _without(found, start, end)
            ids += [*self.words[word]] if word is not None else []
        return {"input_ids": [*start, *ids, *end]}

    def _pieces(self, text: str) -> Iterator[tuple[str, str | None]]:
        """Plain text and the word behind it, in order; None behind the last."""
        first = 0
        mark = text.find(MARK)
        while mark >= 0:
            behind = mark + len(MARK)
            known = leading_name((text[behind:].split(maxsplit=1) or [""])[0], self.known)
            if known is None or text[behind : behind + 1].isspace():
                mark = text.find(MARK, behind)
                continue
            yield text[first:mark], known[2]
            first = behind + known[1]
            first += text.startswith(" ", first)
            mark = text.find(MARK, first)
        yield text[first:], None


def _without(ids: list[int], start: list[int], end: list[int]) -> list[int]:
    ids = ids[len(start) :] if ids[: len(start)] == start else ids
    return ids[: len(ids) - len(end)] if end and ids[-len(end) :] == end else ids
