"""Where a prompt's weights apply, as ComfyUI reads its brackets.

(text) is 1.1 times its surroundings, (text:1.3) is 1.3, and brackets nest; a backslash before a
bracket makes it an ordinary character. A bracket that is never closed makes ordinary text of
itself and of the brackets inside it, unless the text ends in a closing one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BRACKET = re.compile(r"[()]")
_NUMERIC_REFERENCE = re.compile(r"(?<!\w)embedding\Z")


class Segment(NamedTuple):
    """A stretch of text without brackets of weight: text[start:end] at one weight."""

    start: int
    end: int
    weight: float


class Group(NamedTuple):
    """A weighted bracket, text[start:end], brackets included."""

    start: int
    end: int


def segments(text: str) -> list[Segment]:
    """The stretches of a prompt in order. What lies between them are brackets and weights."""
    if "(" not in text:
        return [Segment(0, len(text), 1.0)] if text else []
    return [part for part in _parts(text, 0, len(text), 1.0) if isinstance(part, Segment)]


def groups(text: str) -> list[Group]:
    """All weighted brackets, inner ones after the outer ones they lie in."""
    return [part for part in _parts(text, 0, len(text), 1.0) if isinstance(part, Group)]


def _parts(text: str, start: int, end: int, weight: float) -> list[Segment | Group]:
    found: list[Segment | Group] = []
    for opened, closed, is_group in _pieces(text, start, end):
        if not is_group:
            found.append(Segment(opened, closed, weight))
            continue
        content_end, inner = _weight(text, opened + 1, closed - 1, weight * 1.1)
        found.append(Group(opened, closed))
        found += _parts(text, opened + 1, content_end, inner)
    return found


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int, bool]]:
    pieces = []
    level = 0
    piece = start
    for bracket in _BRACKET.finditer(text, start, end):
        position = bracket.start()
        if position > start and text[position - 1] == "\\":
            continue
        if bracket.group() == "(":
            if level == 0 and position > piece:
                pieces.append((piece, position, False))
                piece = position
            level += 1
        else:
            level -= 1
            if level == 0:
                pieces.append((piece, position + 1, True))
                piece = position + 1
    if piece < end:
        pieces.append((piece, end, _is_group(text[piece:end])))
    return pieces


def _is_group(piece: str) -> bool:
    return len(piece) > 1 and piece[0] == "(" and piece[-1] == ")" and piece[-2] != "\\"


def _weight(text: str, start: int, end: int, default: float) -> tuple[int, float]:
    colon = text.rfind(":", start, end)
    if colon <= start or _NUMERIC_REFERENCE.search(text, start, colon):
        return end, default
    try:
        return colon, float(text[colon + 1 : end])
    except ValueError:
        return end, default
