"""A prompt's references expanded for ComfyUI's own encoder, and when to do it again."""

from __future__ import annotations

from collections.abc import Sequence

from .composition import ON_MISSING, Composition, compose, names_in
from .grammar.formula import FormulaError
from .index import Entry
from .keywords import Keywords
from .library import Library
from .vocabulary import Vocabulary

__all__ = [
    "ON_MISSING",
    "Composition",
    "expand_prompt",
    "fingerprint",
    "keyword_list",
    "referenced_names",
]


def expand_prompt(
    text: str,
    library: Library,
    *,
    missing: str = "error",
    keywords: Sequence[str] = (),
    library_keywords: bool = False,
) -> Composition:
    """Expand references, and whole words of `keywords` or, if wished, of the library's names.

    See `compose` for `missing`, and for what ComfyUI's encoder cannot do.
    """
    vocabulary = Vocabulary(library)
    words = _words(vocabulary, keywords, library_keywords)
    return compose(text, vocabulary, missing=missing, keywords=words, for_core=True)


def fingerprint(
    text: str | None,
    library: Library,
    keywords: Sequence[str] = (),
    *,
    library_keywords: bool = False,
) -> str:
    """Changes when a file that the text refers to does; for an unknown text, when any file does."""
    names = referenced_names(text, library, keywords, library_keywords=library_keywords)
    if names is None:
        return "\n".join(_stamp(entry) for entry in library.index().entries)
    return "\n".join(f"{name} {library.fingerprint(name)}" for name in names)


def referenced_names(
    text: str | None,
    library: Library,
    keywords: Sequence[str] = (),
    *,
    library_keywords: bool = False,
) -> list[str] | None:
    """The names that a text refers to, those that are not there too; None for an unknown text.

    A formula that cannot be read refers to nothing; encoding says what is wrong with it.
    """
    if text is None:
        return None
    vocabulary = Vocabulary(library)
    try:
        return names_in(text, vocabulary, _words(vocabulary, keywords, library_keywords))
    except FormulaError:
        return []


def keyword_list(text: str) -> list[str]:
    """The words of a list written with commas or line breaks."""
    words = (word.strip() for line in text.splitlines() for word in line.split(","))
    return [word.removeprefix("embedding:") for word in words if word]


def _words(vocabulary: Vocabulary, keywords: Sequence[str], library_keywords: bool) -> Keywords:
    return vocabulary.keywords(keywords, "library" if library_keywords else "off")


def _stamp(entry: Entry) -> str:
    try:
        status = entry.path.stat()
    except OSError:
        return entry.relative
    return f"{entry.relative} {status.st_mtime_ns} {status.st_size}"
