"""Captions in which the word has its place: where they name it, else in front, with a notice."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from .pictures import Picture
from .prompts import PLACEHOLDER


def with_word(
    pictures: Sequence[Picture], name: str, others: Sequence[str] = ()
) -> tuple[list[Picture], str | None]:
    """The pictures with the word placed in their captions, and the notice of :func:`place`."""
    placed, _ = place([each.caption for each in pictures], name, others)
    upright = [each.caption for each in pictures if not each.flipped]
    _, notice = place(upright, name, others)
    paired = zip(pictures, placed, strict=True)
    return [dataclasses.replace(each, caption=caption) for each, caption in paired], notice


def place(
    captions: Sequence[str | None], name: str, others: Sequence[str] = ()
) -> tuple[list[str | None], str | None]:
    """Captions with ``{}`` where they name the word, and a notice if some don't.

    ``name``, alone or behind ``embedding:``, is found as a whole word, whatever its case. With
    ``others``, the names of concepts learnt together, each of those becomes ``{its name}``.
    """
    placed: list[str | None] = []
    lacking = 0
    for caption in captions:
        if caption is None:
            placed.append(None)
            continue
        text = " ".join(caption.split())
        for other in others:
            text = named(other).sub("{" + other.replace("\\", r"\\") + "}", text)
        text = named(name).sub(PLACEHOLDER, text)
        if not any(word in text for word in (PLACEHOLDER, *("{" + each + "}" for each in others))):
            lacking += 1
            text = f"{PLACEHOLDER}, {text}" if text else PLACEHOLDER
        placed.append(text)
    return placed, _notice(lacking, sum(each is not None for each in captions), name)


def named(name: str) -> re.Pattern[str]:
    """Finds a name as a whole word, with ``embedding:`` or braces taken along."""
    word = re.escape(name)
    return re.compile(
        rf"\{{{word}\}}|(?<![\w-])(?:embedding:)?{word}(?![\w-])", flags=re.IGNORECASE
    )


def _notice(lacking: int, count: int, name: str) -> str | None:
    if not lacking:
        return None
    which = "The caption doesn't" if count == 1 else f"{lacking} of {count} captions don't"
    return (
        f"{which} name the word ('{name}' or {{}}), so it was put in front; write it where it "
        "belongs in the sentence."
    )
