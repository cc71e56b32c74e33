"""References for text encoders that know no weights and read brackets as ordinary characters."""

from __future__ import annotations

import re

from .references import Lookup, Reference, find
from .weights import Group, groups

_WEIGHT = re.compile(r"(?:\s*:\s*[\d.+\-]+)?\s*")


def expand_unweighted(text: str, lookup: Lookup) -> str:
    """The text with every known reference set apart by spaces, weights behind it left out.

    Brackets that hold nothing but one reference go with its weight; all others stay.
    """
    references = [one for one in find(text, lookup) if one.target is not None]
    if not references:
        return text
    brackets = groups(text)
    written = ""
    position = 0
    for one in references:
        start, end = _unwrapped(text, one, brackets)
        before = text[position:start]
        written += before if not before or before[-1].isspace() else f"{before} "
        written += f"embedding:{one.target}"
        written += " " if end < len(text) and not text[end].isspace() else ""
        position = end
    return written + text[position:]


def _unwrapped(text: str, one: Reference, brackets: list[Group]) -> tuple[int, int]:
    start, end = one.start, one.end
    for group in reversed(brackets):
        if group.start < start and end < group.end:
            before, after = text[group.start + 1 : start], text[end : group.end - 1]
            if before.strip() or not _WEIGHT.fullmatch(after):
                break
            start, end = group.start, group.end
    return start, end
