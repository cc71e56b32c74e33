"""Bare words that mean an embedding: whole words only, the longest first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

_HEAD = 3
_MAY_START = re.compile(r"(?<![\w\-/\\])(?<!\w\.)\S")
_CUT_SHORT = re.compile(r"[\w\-/]|\\(?![()])|\.(?!embedding:)[\w\-/]")


class Keywords:
    """Words and what each is called after 'embedding:', None where it is no name."""

    def __init__(self, targets: Mapping[str, str | None]) -> None:
        self.targets = {word: target for word, target in targets.items() if word.strip()}
        by_head: dict[str, list[str]] = {}
        for word in self.targets:
            by_head.setdefault(word[:_HEAD], []).append(word)
        self._by_head = {
            head: sorted(words, key=lambda word: (-len(word), word))
            for head, words in by_head.items()
        }

    @classmethod
    def of(cls, words: Iterable[str], lookup: Callable[[str], str | None]) -> Keywords:
        """Keywords that are names, or None's, themselves."""
        return cls({word: lookup(word) for word in words})

    def __bool__(self) -> bool:
        return bool(self.targets)

    def matches(self, text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        """(start, end, word) of every whole word in text[start:end], none inside another."""
        position = start
        while place := _MAY_START.search(text, position, end):
            word = self._longest(text, place.start(), end)
            if word is None:
                position = place.start() + 1
                continue
            position = place.start() + len(word)
            yield place.start(), position, word

    def _longest(self, text: str, start: int, end: int) -> str | None:
        heads = [text[start : start + length] for length in range(min(_HEAD, end - start), 0, -1)]
        for head in dict.fromkeys(heads):
            for word in self._by_head.get(head, ()):
                closes = start + len(word)
                if closes <= end and text.startswith(word, start):
                    if closes < end and _CUT_SHORT.match(text, closes):
                        continue
                    return word
        return None
