"""Puts an ordinary reference in the place of everything else that means an embedding.

Found are formulas ``{0.6*embedding:cat + 0.4*"tiger"}``, names in quotes ``embedding:"my cat"``,
slices ``embedding:cat[0:2]`` and A1111's ``<cat>``, this last only where the name exists. Random
choices ``{a|b}`` and tags such as ``<lora:name:1>`` stay as they are. ComfyUI's text boxes take
every brace for a choice unless it is written ``\\{``, so that is understood as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from ..references import CONTINUES, MARK, Lookup, expand
from .formula import (
    QUOTED,
    SLICE,
    Expression,
    FormulaError,
    Named,
    Operation,
    leaves,
    parse,
    slice_bounds,
    unquoted,
)

_CANDIDATE = re.compile(
    r"\{|<|embedding:(?<!\wembedding:)"
    r"(?=\s*(?:embedding:\s*)*(?:(\")|[^\s()\[\]{}<>,\":]+\[))"
)
_BRACE = re.compile(rf"{QUOTED}|[{{}}|]")
_QUOTED_NAME = re.compile(rf"(?:embedding:\s*)+({QUOTED})({SLICE})?")
_SLICED_NAME = re.compile(rf"(?:embedding:\s*)+([^\s()\[\]{{}}<>,\":]+)({SLICE})")
_TAG = re.compile(
    r"<(?:(embedding:)\s*)?(?!\s)([^<>:|\"\n]{1,255})(?<!\s)(?::\s*(\d+\.?\d*|\.\d+))?>"
)
_MEANT = re.compile(
    r"[*/]\s*embedding:|[+\-]\s+[\d.*\s]*embedding:|\b(?:mean|slerp)\s*\("
    r"|embedding:(?:\"[^\"]*\"|[^\s,\"*]+)(?:\s*\*|\s+[+\-*/]\s)"
)
_STRAY = re.compile(r"\d\s*\*\s*embedding:|embedding:[^\s,|]+\s*\*\s*\d")


class StandIn(NamedTuple):
    """What text[start:end] of the prompt means, and the `name` that stands for it now."""

    name: str
    start: int
    end: int
    shown: str
    expression: Expression

    @property
    def missing(self) -> list[str]:
        """Names in it that do not exist."""
        named = (leaf for leaf in leaves(self.expression) if isinstance(leaf, Named))
        return [leaf.name for leaf in named if leaf.target is None]


@dataclass(frozen=True)
class Plain:
    """A prompt of ordinary references only, and what the stand-ins among them mean by name."""

    text: str
    stand_ins: dict[str, StandIn] = field(default_factory=dict)


def desugar(text: str, lookup: Lookup) -> Plain:
    """The prompt with ordinary references only; the text itself where there is nothing to do.

    `lookup` is asked for names as they are meant, spaces included. Raises FormulaError for braces
    that hold an embedding beside an operator and still are no formula.
    """
    if not ("{" in text or "<" in text or (MARK in text and ('"' in text or "[" in text))):
        return Plain(text)
    prefix = "this"
    while prefix in text:
        prefix += "-"
    found: dict[str, StandIn] = {}
    written: list[str] = []
    position = done = 0
    while candidate := _CANDIDATE.search(text, position):
        meant = _meant_at(text, candidate, position, lookup)
        if meant is None:
            position = candidate.end()
            continue
        start, end, expression, weight = meant
        name = f"{prefix}{len(found)}"
        found[name] = StandIn(name, start, end, text[start:end], expression)
        before = text[done:start]
        last = before[-1:] or (written[-1][-1:] if written else "")
        apart = " " if last.isalnum() or last == "_" else ""
        written += [before, f"{apart}embedding:{name}{weight}"]
        written += [" "] if CONTINUES.match(text, end) else []
        position = done = end
    if not found:
        return Plain(text)
    return Plain("".join(written) + text[done:], found)


def stray_formula(text: str) -> str:
    """Arithmetic with an embedding outside of braces, as the page leaves it, or ''."""
    found = _STRAY.search(text)
    return found.group() if found else ""


def _meant_at(
    text: str, candidate: re.Match[str], done: int, lookup: Lookup
) -> tuple[int, int, Expression, str] | None:
    start = candidate.start()
    if text[start] == "{":
        is_escaped = start > done and text[start - 1] == "\\"
        return _formula(text, start - is_escaped, start + 1, lookup)
    if text[start] == "<":
        return _tag(text, start, lookup)
    pattern = _QUOTED_NAME if candidate.group(1) else _SLICED_NAME
    reference = pattern.match(text, start)
    if reference is None:
        return None
    written, part = reference.groups()
    name = (unquoted(written) if candidate.group(1) else written).strip()
    bounds = slice_bounds(part) if part else (None, None)
    return start, reference.end(), Named(name, lookup(name), *bounds), ""


def _formula(
    text: str, start: int, inside: int, lookup: Lookup
) -> tuple[int, int, Expression, str] | None:
    closing = _closing_brace(text, inside)
    if closing is None:
        return None
    content = text[inside:closing]
    escaped = text[start] == "\\" and content.endswith("\\")
    content = content[:-1] if escaped else content
    if "embedding:" not in content and '"' not in content:
        return None
    expression = _parsed(content, lookup)
    return None if expression is None else (start, closing + 1, expression, "")


def _parsed(content: str, lookup: Lookup) -> Operation | None:
    """The formula between braces, None for text; decided as if references were set apart."""
    try:
        return _operation(content, lookup)
    except FormulaError as error:
        if "embedding:" not in content:
            return None
        refusal = error
    spaced = expand(content, lookup)
    try:
        return _operation(spaced, lookup)
    except FormulaError:
        if _MEANT.search(spaced):
            raise refusal from None
        return None


def _operation(text: str, lookup: Lookup) -> Operation | None:
    expression = parse(text, lookup)
    return expression if isinstance(expression, Operation) else None


def _closing_brace(text: str, inside: int) -> int | None:
    """Where the brace that opened before `inside` closes; None for a choice or for braces in it."""
    for mark in _BRACE.finditer(text, inside):
        if mark.group() == "}":
            return mark.start()
        if mark.group() in "{|":
            return None
    return None


def _tag(text: str, start: int, lookup: Lookup) -> tuple[int, int, Expression, str] | None:
    tag = _TAG.match(text, start)
    if tag is None:
        return None
    prefix, name, weight = tag.groups()
    target = lookup(name.strip())
    if not prefix and (target is None or weight is not None):
        return None
    return start, tag.end(), Named(name.strip(), target), f":{weight}" if weight else ""
