"""What the names in one prompt stand for: embeddings in memory first, then the library's files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .embedding import Embedding, EmbeddingError
from .index import Entry, Index
from .keywords import Keywords
from .library import Library
from .names import without_extension
from .trigger_words import trigger_words, trigger_words_of

BARE_NAMES = ("off", "connected", "library")
"""Which names work as plain words: none, those in memory, or the library's as well."""


@dataclass(frozen=True)
class Known:
    """An embedding in memory and, for the report, where it came from ('connected')."""

    embedding: Embedding
    origin: str


class Vocabulary:
    """The names that one prompt can use; every file is read once, unreadable ones are missing."""

    def __init__(
        self, library: Library | None = None, memory: Mapping[str, Known] | None = None
    ) -> None:
        self._library = library
        self.index = library.index() if library is not None else Index([], [], True)
        self.memory = dict(memory or {})
        self._targets: dict[str, str | None] = {}
        self._entries: dict[str, Entry] = {}
        self._read: dict[str, Embedding] = {}
        self._unreadable: dict[str, str] = {}

    def find(self, name: str) -> str | None:
        """The one name under which an embedding is known here, or None if there is none."""
        if name not in self._targets:
            self._targets[name] = self._in_memory(name) or self._in_library(name)
        return self._targets[name]

    def embedding(self, target: str) -> Embedding:
        """The embedding that `find` answered with `target`."""
        known = self.memory.get(target)
        if known is not None:
            return known.embedding
        entry = self._entry(target)
        if entry is None or not self._is_readable(target, entry):
            raise EmbeddingError(self.problem(target))
        return self._read[target]

    def writable(self, target: str) -> bool:
        """True if ComfyUI itself finds `target` when it stands behind 'embedding:'."""
        return target not in self.memory and self.index.reference(target) is not None

    def origin(self, target: str) -> str:
        """Where it comes from: a file below an embeddings folder, or a wire."""
        known = self.memory.get(target)
        if known is not None:
            return known.origin
        entry = self._entry(target)
        return entry.relative if entry else target

    def problem(self, name: str) -> str:
        """One sentence for a name that `find` has no answer for."""
        entry = self.index.find(name)
        if entry is not None:
            target = self.index.reference(name) or entry.relative
            if target in self._unreadable:
                return self._unreadable[target]
        near = Index([Path()], [[f"{known}.pt" for known in self.memory]], True).suggest(name)
        if near:
            either = "' or '".join(near)
            return f"Embedding '{name}' not found. Did you mean '{either}'?"
        return self.index.missing_message(name)

    def remark(self, target: str) -> str | None:
        """A warning about a name that could stand for something else, or None."""
        if target in self.memory:
            entry = self.index.find(target)
            if entry is None:
                return None
            return (
                f"'{target}' is the one that is {self.memory[target].origin}, not the file "
                f"{entry.relative}."
            )
        others = self.index.duplicates(target)
        if not others:
            return None
        return (
            f"'{target}' is also {others[0]}; ComfyUI may take either, so rename one or use "
            "Load Embedding."
        )

    def keywords(self, listed: Iterable[str] = (), bare_names: str = "off") -> Keywords:
        """Words that work without 'embedding:': those `listed`, and names and trigger words."""
        if bare_names not in BARE_NAMES:
            raise EmbeddingError(
                f"'bare_names' is '{bare_names}', not one of {', '.join(BARE_NAMES)}."
            )
        triggers: dict[str, str] = {}
        words: dict[str, str | None] = {}
        listed = list(listed)
        if listed or bare_names == "library":
            triggers = dict(self._triggers_of_files())
        triggers |= {
            word: name
            for name, known in self.memory.items()
            for word in trigger_words(known.embedding.metadata)
        }
        if bare_names == "library":
            words |= dict(self._names_of_files()) | triggers
        if bare_names != "off":
            words |= {name: name for name in self.memory}
            words |= {word: name for word, name in triggers.items() if name in self.memory}
        words |= {word: self.find(word) or triggers.get(word) for word in listed}
        return Keywords(words)

    def _names_of_files(self) -> Iterator[tuple[str, str]]:
        for name in self.index.names():
            target = self.index.reference(name)
            if target is not None:
                yield name, target
                yield name.rpartition("/")[2], target

    def _triggers_of_files(self) -> Iterator[tuple[str, str]]:
        for entry in self.index.entries:
            for word in trigger_words_of(entry.path):
                target = self.index.reference(entry.name)
                if target is not None:
                    yield word, target

    def _in_library(self, name: str) -> str | None:
        entry = self.index.find(name)
        if entry is None:
            return None
        target = self.index.reference(name) or entry.relative
        if not self._is_readable(target, entry):
            return None
        self._entries[target] = entry
        return target

    def _entry(self, target: str) -> Entry | None:
        return self._entries.get(target) or self.index.find(target)

    def _in_memory(self, name: str) -> str | None:
        if not self.memory:
            return None
        name = name.replace("\\", "/")
        forms = (name, without_extension(name))
        return next((form for form in forms if form in self.memory), None)

    def _is_readable(self, target: str, entry: Entry) -> bool:
        if target in self._read:
            return True
        if target in self._unreadable or self._library is None:
            return False
        try:
            self._read[target] = self._library.read_entry(entry)
        except EmbeddingError as error:
            self._unreadable[target] = str(error)
            return False
        return True
