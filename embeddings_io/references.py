"""Finds references, `embedding:name`, in prompt text and writes them so that ComfyUI reads them.

ComfyUI wants white space or a weight's bracket on both sides of a reference; people write commas,
quotes and brackets there. Which names exist is asked of a `Lookup`, so this is pure string work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .keywords import Keywords
from .weights import Segment, groups, segments

Lookup = Callable[[str], "str | None"]
"""Takes a name as written; gives the name to write after 'embedding:', or None if there is none."""

MARK = "embedding:"
_CALL = re.compile(r"(embedding:(?<!\wembedding:)(?:\s*embedding:)*)\s*((?:\\[()]|[^\s()])*)")
_PLAIN_NAME = re.compile(r"(?:\w|[\-./+](?!embedding:)|\\(?![()]))+")
CONTINUES = re.compile(r"\.*(?:\w|[\-/](?!embedding:)|\\(?![()]))")
_NAME_END = re.compile(rf"[^\\](?!{CONTINUES.pattern})")
_BARE_WEIGHT = re.compile(r":\s*(\d+\.?\d*|\.\d+)(?!\w|\.\d)")
_ENDS_NAME = re.compile(r"\s|,+(?:\s|\Z)")
_BRACKET = re.compile(r"(?<!\\)[()]")
_TAG = re.compile(r"<\w+:[^<>]*>")
_EMPTY_GROUP = re.compile(r"[\s,]*(?::[\s\d.+\-]*)?")
LONGEST_NAME = 255
NO_KEYWORDS = Keywords({})


class Reference(NamedTuple):
    """One reference, text[start:end]; `name` as written, `target` None where it is missing.

    `weight` is the one it is encoded with; `own_weight` the number written right behind the name
    without brackets, as in 'embedding:a:1.2'.
    """

    start: int
    end: int
    name: str
    target: str | None
    weight: float
    own_weight: str = ""
    is_keyword: bool = False


def find(text: str, lookup: Lookup, keywords: Keywords | Sequence[str] = ()) -> list[Reference]:
    """All references in order, and whole words of `keywords` as if they were references."""
    words = _as_keywords(keywords, lookup)
    return [one for _, references in _by_segment(text, lookup, words) for one in references]


def expand(
    text: str,
    lookup: Lookup,
    keywords: Keywords | Sequence[str] = (),
    *,
    drop_missing: bool = False,
) -> str:
    """The text with every reference set apart by spaces and written by its target.

    Text without references comes back as it is, and expanding twice changes nothing more. An
    'embedding:' without a name is always dropped, as ComfyUI fails on it; missing names only with
    `drop_missing`. A keyword that is no name stays a word.
    """
    words = _as_keywords(keywords, lookup)

    def is_unwanted(one: Reference) -> bool:
        return one.target is None and not one.is_keyword and (drop_missing or not one.name)

    found = _by_segment(text, lookup, words)
    if any(is_unwanted(one) for _, references in found for one in references):
        text = without(text, lookup, is_unwanted, words)
        found = _by_segment(text, lookup, words)
    return _placed(text, found)


def placed(text: str, found: Sequence[Reference]) -> str:
    """The text with the references that were found in it set apart and written by their targets."""
    by_segment = []
    first = last = 0
    for segment in segments(text) if found else ():
        while last < len(found) and found[last].start < segment.end:
            last += 1
        if last > first:
            by_segment.append((segment, found[first:last]))
        first = last
    return _placed(text, by_segment)


def without(
    text: str,
    lookup: Lookup,
    unwanted: Callable[[Reference], bool],
    keywords: Keywords | Sequence[str] = (),
) -> str:
    """The text without the references that are `unwanted`, their empty brackets and commas."""
    while True:
        found = next((one for one in find(text, lookup, keywords) if unwanted(one)), None)
        if found is None:
            return text
        text = _cut(text, found.start, found.end)


def leading_name(run: str, lookup: Lookup) -> tuple[str, int, str] | None:
    """The longest existing name that `run` begins with: as written, its length, its target."""
    tried = len(run) if "\\" not in run and len(run) <= LONGEST_NAME else 0
    if tried and (target := lookup(run)) is not None:
        return run, tried, target
    ends = [one.end() for one in _NAME_END.finditer(run, 0, LONGEST_NAME + 1)]
    for length in reversed(ends):
        name = run[:length]
        if "\\" in name:
            name = name.replace("\\(", "(").replace("\\)", ")")
        target = lookup(name) if tried != length <= LONGEST_NAME else None
        if target is not None:
            return name, length, target
    return None


def _as_keywords(keywords: Keywords | Sequence[str], lookup: Lookup) -> Keywords:
    if isinstance(keywords, Keywords):
        return keywords
    return Keywords.of(keywords, lookup) if keywords else NO_KEYWORDS


def _by_segment(
    text: str, lookup: Lookup, words: Keywords
) -> list[tuple[Segment, list[Reference]]]:
    """The stretches of one weight that have references, each with them in order."""
    found: list[tuple[Segment, list[Reference]]] = []
    next_mark = text.find(MARK)
    if next_mark < 0 and not words:
        return found
    for segment in segments(text):
        references: list[Reference] = []
        if 0 <= next_mark < segment.end:
            references += _in_segment(text, segment, lookup)
            next_mark = text.find(MARK, segment.end)
        if words:
            taken = [(reference.start, reference.end) for reference in references]
            references += _keywords_in(text, segment, words, taken)
            references.sort(key=lambda reference: reference.start)
        if references:
            found.append((segment, references))
    return found


def _in_segment(text: str, segment: Segment, lookup: Lookup) -> Iterator[Reference]:
    position = segment.start
    while call := _CALL.search(text, position, segment.end):
        reference = _reference(text, segment, call, lookup)
        position = reference.end
        yield reference


def _reference(text: str, segment: Segment, call: re.Match[str], lookup: Lookup) -> Reference:
    first, start = call.span(1)[0], call.start(2)
    known = leading_name(call.group(2), lookup)
    if known is not None:
        name, length, target = known[0], known[1], known[2]
    else:
        plain = _PLAIN_NAME.match(text, start, segment.end)
        name = plain.group().rstrip(".") if plain else ""
        length, target = len(name), None
    if not name:
        return Reference(first, call.end(1), "", None, segment.weight)
    end = start + length
    number = _BARE_WEIGHT.match(text, end, segment.end) if text.startswith(":", end) else None
    if number is None or _BRACKET.search(text, segment.start, segment.end):
        return Reference(first, end, name, target, segment.weight)
    own = number.group(1)
    return Reference(first, number.end(), name, target, float(own), own)


def _keywords_in(
    text: str, segment: Segment, words: Keywords, taken: Sequence[tuple[int, int]]
) -> Iterator[Reference]:
    taken = [*taken, *(tag.span() for tag in _TAG.finditer(text, segment.start, segment.end))]
    for start, end, word in words.matches(text, segment.start, segment.end):
        if any(start < closed and opened < end for opened, closed in taken):
            continue
        yield Reference(start, end, word, words.targets[word], segment.weight, is_keyword=True)


def _placed(text: str, found: Sequence[tuple[Segment, Sequence[Reference]]]) -> str:
    written = []
    position = 0
    for segment, references in found:
        inside = [one for one in references if one.target is not None or not one.is_keyword]
        if inside:
            written += [text[position : segment.start], _rewritten(text, segment, inside)]
            position = segment.end
    return "".join(written) + text[position:]


def _rewritten(text: str, segment: Segment, references: Sequence[Reference]) -> str:
    written = ""
    position = segment.start
    open_name = False
    for reference in references:
        written += _after(open_name, text[position : reference.start])
        if written and written[-1] not in " \n":
            written += " "
        name = reference.target if reference.target is not None else reference.name
        call = MARK + (name if "(" not in name and ")" not in name else _escaped(name))
        written += f"({call}:{reference.own_weight})" if reference.own_weight else call
        open_name = not reference.own_weight
        position = reference.end
    return written + _after(open_name, text[position : segment.end])


def _escaped(name: str) -> str:
    return name.replace("(", "\\(").replace(")", "\\)")


def _after(open_name: bool, literal: str) -> str:
    apart = not open_name or not literal or _ENDS_NAME.match(literal)
    return literal if apart else f" {literal}"


def _cut(text: str, start: int, end: int) -> str:
    """The text without text[start:end], its bracket if that is empty now, and a doubled comma."""
    for group in reversed(groups(text)):
        if group.start < start and end < group.end:
            rest = text[group.start + 1 : start] + text[end : group.end - 1]
            if _EMPTY_GROUP.fullmatch(rest):
                start, end = group.start, group.end
    before, after = text[:start], text[end:]
    left, right = before.rstrip(" \t"), after.lstrip(" \t")
    if right.startswith(",") and (not left or left[-1] in ",(\n"):
        after = right[1:].lstrip(" \t")
    elif left.endswith(",") and (not right or right[0] in ")\n"):
        before, after = left[:-1], right
    elif right.startswith(","):
        before, after = left, right
    elif before[-1:] in ("", " ") and after.startswith(" "):
        after = after[1:]
    return before + " " + after if before.endswith("\\") else before + after
