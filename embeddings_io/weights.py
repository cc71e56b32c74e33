"""Where a prompt's weights apply, as ComfyUI reads its brackets.

(text) is 1.1 times its surroundings, (text:1.3) is 1.3, and brackets nest; a backslash before a
bracket makes it an ordinary character. A bracket that is never closed makes ordinary text of
itself and of the brackets inside it, unless the text ends in a closing one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BRACKET = re.compile(r"[()](?<!\\[()])")
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
    return _parts(text, 0, len(text), 1.0)[0]


def groups(text: str) -> list[Group]:
    """All weighted brackets, inner ones after the outer ones they lie in."""
    return _parts(text, 0, len(text), 1.0)[1]


def _parts(text: str, start: int, end: int, weight: float) -> tuple[list[Segment], list[Group]]:
    """The stretches and the brackets of text[start:end], in one pass over its brackets."""
    stretches: list[Segment] = []
    brackets: list[Group] = []
    places = [one.start() for one in _BRACKET.finditer(text, start, end)]
    closings, rest = _paired(text, places, end)
    open_ones: list[tuple[int, float]] = []
    position = start
    for place in places:
        if place >= rest:
            break
        if place in closings:
            if place > position:
                stretches.append(Segment(position, place, weight))
            closing = closings[place]
            outer = weight
            content_end, weight = _weight(text, place + 1, closing, weight * 1.1)
            open_ones.append((content_end, outer))
            brackets.append(Group(place, closing + 1))
            position = place + 1
        elif open_ones:
            content_end, outer = open_ones.pop()
            if content_end > position:
                stretches.append(Segment(position, content_end, weight))
            weight = outer
            position = place + 1
    if rest > position:
        stretches.append(Segment(position, rest, weight))
    if rest < end and _is_group(text[rest:end]):
        brackets.append(Group(rest, end))
        content_end, weight = _weight(text, rest + 1, end - 1, weight * 1.1)
        more = _parts(text, rest + 1, content_end, weight)
        return stretches + more[0], brackets + more[1]
    if rest < end:
        stretches.append(Segment(rest, end, weight))
    return stretches, brackets


def _paired(text: str, places: list[int], end: int) -> tuple[dict[int, int], int]:
    """Where each bracket closes, and the first of those that never do, else `end`.

    A closing one that nothing opened takes the next opening one with it.
    """
    closings: dict[int, int] = {}
    unclosed: list[int] = []
    stray = 0
    for place in places:
        if text[place] == ")":
            if unclosed:
                closings[unclosed.pop()] = place
            else:
                stray += 1
        elif stray:
            stray -= 1
        else:
            unclosed.append(place)
    return closings, unclosed[0] if unclosed else end


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
