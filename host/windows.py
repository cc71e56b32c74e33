"""The windows of 77 tokens that a CLIP text encoder reads one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch

Token = tuple[Any, ...]
"""(id or vector, weight) or (id or vector, weight, word id)."""

Row = list[Token]

LONGEST_WINDOW = 1000
"""Tokens; encoders with longer ones have no windows to speak of."""


def has_windows(part: Any) -> bool:
    """True if a tokenizer fills windows between a start and an end token."""
    return (
        0 < part.max_length < LONGEST_WINDOW
        and part.start_token is not None
        and part.end_token is not None
        and part.pad_to_max_length
        and not part.pad_left
    )


def room_in(part: Any) -> int | None:
    """Tokens of text in one row of a tokenizer that begins a new row when one is full."""
    ends = sum(token is not None for token in (part.start_token, part.end_token))
    return part.max_length - ends if ends and 0 < part.max_length < LONGEST_WINDOW else None


def joined_windows(rows: list[Row], part: Any) -> list[Row]:
    """Rows with word ids, filled anew if an embedding that fits into one window was cut.

    ComfyUI moves up to seven vectors to the next window and cuts longer embeddings; everything
    else is distributed as it does.
    """
    if len(rows) < 2:
        return rows
    cuts = [_last_word(row, part) for row in rows[:-1]]
    opens = [row[1][2] if len(row) > 1 else 0 for row in rows[1:]]
    if not any(
        cut == opened and cut in _embedding_words(rows)
        for cut, opened in zip(cuts, opens, strict=True)
    ):
        return rows
    content = [token for row in rows for token in _content(row, part)]
    words = [list(group) for _, group in groupby(content, key=lambda token: token[2])]
    return _filled(words, part)


def content_lengths(rows: Sequence[Row], part: Any) -> list[int]:
    """How many tokens each row holds besides start, end and padding."""
    return [len(_content(row, part)) for row in rows]


def without_word_ids(rows: Iterable[Row]) -> list[Row]:
    """The rows of (token, weight)."""
    return [[token[:2] for token in row] for row in rows]


def wrapped_vectors(rows: Iterable[Row]) -> list[Row]:
    """The rows with each vector in a table, ComfyUI's other way to hand one to an encoder."""
    return [
        [
            ({"type": "embedding", "data": token}, *rest) if _is_vector(token) else (token, *rest)
            for token, *rest in row
        ]
        for row in rows
    ]


def _filled(words: Sequence[Row], part: Any) -> list[Row]:
    room = part.max_length - 2
    rows: list[Row] = [[]]
    for word in words:
        stays_whole = len(word) < part.max_word_length or (
            _is_embedding(word) and len(word) <= room
        )
        if stays_whole and len(rows[-1]) + len(word) > room:
            rows.append([])
        while word:
            if len(rows[-1]) == room:
                rows.append([])
            free = room - len(rows[-1])
            rows[-1] += word[:free]
            word = word[free:]
    start, end, pad = ((token, 1.0, 0) for token in _specials(part))
    return [[start, *row, end, *[pad] * (room - len(row))] for row in rows]


def _specials(part: Any) -> tuple[int, int, int]:
    return part.start_token, part.end_token, part.pad_token


def _content(row: Row, part: Any) -> Row:
    """The tokens between start and the first end token of no word."""
    if part.pad_left:
        padding = next((i for i, token in enumerate(row) if not _is_pad(token, part)), len(row))
        row = row[padding:]
    inside = row[1:] if part.start_token is not None else row
    for position, token in enumerate(inside):
        is_special = len(token) < 3 or token[2] == 0
        if is_special and not _is_vector(token[0]) and token[0] in (part.end_token, part.pad_token):
            return inside[:position]
    return inside


def _is_pad(token: Token, part: Any) -> bool:
    return not _is_vector(token[0]) and token[0] == part.pad_token


def _last_word(row: Row, part: Any) -> int:
    content = _content(row, part)
    return content[-1][2] if content else 0


def _embedding_words(rows: Iterable[Row]) -> set[int]:
    return {token[2] for row in rows for token in row if _is_vector(token[0])}


def _is_embedding(word: Row) -> bool:
    return _is_vector(word[0][0])


def _is_vector(token: object) -> bool:
    return isinstance(token, torch.Tensor | dict)
