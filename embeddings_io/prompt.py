"""A prompt's references expanded against a library, with a report of what they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .embedding import Embedding, EmbeddingError
from .formats import read
from .index import Entry, Index
from .library import Library
from .names import safe_name, without_extension
from .references import Reference, expand, find

ON_MISSING = ("error", "warning", "drop")


@dataclass(frozen=True)
class Expansion:
    """The text to encode, and one line a reference and a warning."""

    text: str
    resolved: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def report(self) -> str:
        lines = [*self.resolved, *(f"Warning: {warning}" for warning in self.warnings)]
        return "\n".join(lines) or "No embeddings in this text."


def expand_prompt(
    text: str,
    library: Library,
    *,
    missing: str = "error",
    keywords: Sequence[str] = (),
    library_keywords: bool = False,
) -> Expansion:
    """Expand references, and whole words of `keywords` or, if wished, of the library's names.

    `missing` says what becomes of a name that is not there or cannot be read: 'error' raises
    EmbeddingError, 'warning' keeps it in the text, where ComfyUI passes over it, 'drop' takes it
    out.
    """
    if missing not in ON_MISSING:
        raise EmbeddingError(f"'missing' is '{missing}', not one of {', '.join(ON_MISSING)}.")
    index = library.index()
    words = [*keywords, *(_library_words(index) if library_keywords else ())]
    known = _Known(index)
    found = find(text, known.reference, words)
    problems = list(dict.fromkeys(known.problem(one) for one in found if one.target is None))
    if problems and missing == "error":
        raise EmbeddingError(" ".join(problems))
    expanded = expand(text, known.reference, words, drop_missing=missing == "drop")
    kept = [one for one in find(expanded, known.reference) if one.target is not None]
    lines = list(dict.fromkeys(known.line(one) for one in kept))
    doubles = list(dict.fromkeys(known.double(one) for one in kept))
    return Expansion(expanded, tuple(lines), tuple(problems) + tuple(d for d in doubles if d))


def fingerprint(
    text: str | None,
    library: Library,
    keywords: Sequence[str] = (),
    *,
    library_keywords: bool = False,
) -> str:
    """Changes when a file that the text refers to does; for an unknown text, when any file does."""
    index = library.index()
    if text is None:
        return "\n".join(_stamp(entry) for entry in index.entries)
    words = [*keywords, *(_library_words(index) if library_keywords else ())]
    names = {one.target or one.name for one in find(text, index.reference, words)}
    return "\n".join(f"{name} {library.fingerprint(name)}" for name in sorted(names))


def _stamp(entry: Entry) -> str:
    try:
        status = entry.path.stat()
    except OSError:
        return entry.relative
    return f"{entry.relative} {status.st_mtime_ns} {status.st_size}"


def keyword_list(text: str) -> list[str]:
    """The words of a list written with commas or line breaks."""
    words = (word.strip() for line in text.splitlines() for word in line.split(","))
    return [word.removeprefix("embedding:") for word in words if word]


def _library_words(index: Index) -> list[str]:
    names = [name for name in index.names() if index.reference(name) is not None]
    return [*names, *(name.rpartition("/")[2] for name in names)]


class _Known:
    """The library as one prompt sees it: every file is read once, unreadable ones are missing."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.embeddings: dict[str, Embedding] = {}
        self.unreadable: dict[str, str] = {}

    def reference(self, name: str) -> str | None:
        target = self.index.reference(name)
        if target is None or target in self.embeddings:
            return target
        entry = self.index.find(target)
        if target in self.unreadable or entry is None:
            return None
        try:
            self.embeddings[target] = read(entry.path, safe_name(entry.relative))
        except EmbeddingError as error:
            self.unreadable[target] = str(error)
            return None
        return target

    def problem(self, reference: Reference) -> str:
        if not reference.name:
            return "The text has an 'embedding:' without a name behind it."
        target = self.index.reference(reference.name)
        if target in self.unreadable:
            return self.unreadable[target]
        return self.index.missing_message(reference.name)

    def line(self, reference: Reference) -> str:
        target = reference.target or ""
        entry = self.index.find(target)
        held = self.embeddings[target].describe()
        weight = f", weight {reference.weight:.4g}" if reference.weight != 1 else ""
        file = entry.relative if entry else target
        return f"embedding:{without_extension(target)} = {file}, {held}{weight}"

    def double(self, reference: Reference) -> str | None:
        others = self.index.duplicates(reference.target or "")
        if not others:
            return None
        return (
            f"'{reference.target}' is also {others[0]}; ComfyUI may take either, so rename one or "
            "use Load Embedding."
        )
