"""What a name stands for among the files of several folders: always the same one file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .names import CARD_EXTENSIONS, reads_as_number, without_extension
from .near_names import near_names
from .saving import RIVALS

_REMEMBERED = 4096
"""Look-ups kept; files of one name in many sub-folders make them dear."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the library; `relative` is its path below its folder, with '/' and extension."""

    folder: Path
    relative: str

    @property
    def path(self) -> Path:
        return self.folder.joinpath(*self.relative.split("/"))

    @property
    def name(self) -> str:
        return without_extension(self.relative)

    @property
    def is_card(self) -> bool:
        """True for a picture that may hold an embedding; ComfyUI itself passes over those."""
        return self.relative.lower().endswith(CARD_EXTENSIONS)


@dataclass(frozen=True, slots=True)
class _Hit:
    """A file that ComfyUI may find by a name, ordered by how near it is."""

    order: tuple[int, int, str, int]
    entry: Entry


class Index:
    """The files of several folders at one moment. The first folder wins.

    Names are matched as ComfyUI does: a path below a folder or the end of one, with or without
    extension. A whole path beats the end of one.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        listed: Sequence[Sequence[str]],
        case_sensitive: bool,
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        self._case_sensitive = case_sensitive
        self._left_out = left_out or {}
        self._rank = {folder: number for number, folder in enumerate(folders)}
        self.entries = [
            Entry(folder, relative)
            for folder, files in zip(folders, listed, strict=True)
            for relative in files
        ]
        by_stem: dict[str, list[int]] = {}
        for number, entry in enumerate(self.entries):
            stem = without_extension(entry.relative.rpartition("/")[2])
            by_stem.setdefault(self._key(stem), []).append(number)
        self._by_stem = {stem: tuple(numbers) for stem, numbers in by_stem.items()}
        self._remembered: dict[str, list[_Hit]] = {}

    def names(self) -> list[str]:
        """Every name once, sub-folders kept, in alphabetical order."""
        return sorted({entry.name for entry in self.entries})

    def find(self, name: str) -> Entry | None:
        """The one file that `name` stands for, or None."""
        hits = self._found(name)
        return hits[0].entry if hits else None

    def duplicates(self, name: str) -> list[Path]:
        """Files in other folders that ComfyUI could take for `name` as well."""
        return [hit.entry.path for hit in self._found(name)[1:]]

    def reference(self, name: str) -> str | None:
        """What to write after 'embedding:' so that ComfyUI finds this file, or None if it cannot.

        That is the path below its folder; with extension where the bare name would mean another
        file too, or be read as a weight.
        """
        entry = self.find(name)
        if entry is None or entry.is_card or _has_space(entry.relative):
            return None
        short, full = self._found(entry.name), self._found(entry.relative)
        is_first = bool(short) and short[0].entry == entry and not reads_as_number(entry.name)
        if is_first and (len(short) == 1 or len(full) > 1):
            return entry.name
        return entry.relative

    def suggest(self, name: str, count: int = 3) -> list[str]:
        """Existing names near a missing one, the nearest first."""
        wanted = without_extension(name.replace("\\", "/"))
        return near_names(wanted, self.names(), count)

    def missing_message(self, name: str) -> str:
        """One sentence for a name that is not there."""
        reason = self._left_out.get(name.replace("\\", "/"))
        if reason:
            return f"Embedding '{name}' {reason}"
        entry = self.find(name)
        if entry is not None and entry.is_card:
            return (
                f"'{name}' is a picture card, which no prompt can hold; use Load Embedding, or "
                "Convert Embedding to make a safetensors file of it."
            )
        near = self.suggest(name)
        if near and _has_space(near[0]):
            return (
                f"Embedding '{name}' not found; '{near[0]}' has a space, which no prompt can hold, "
                "so rename that file or use Load Embedding."
            )
        if near:
            return f"Embedding '{name}' not found. Did you mean '{_either(near)}'?"
        places = ", ".join(str(folder) for folder in self._rank)
        return f"Embedding '{name}' not found in {places or 'any folder'}."

    def _key(self, name: str) -> str:
        name = name.replace("\\", "/")
        return name if self._case_sensitive else name.casefold()

    def _found(self, name: str) -> list[_Hit]:
        key = self._key(name)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = _one_a_directory(self._hits(key))
        return found

    def _hits(self, key: str) -> list[_Hit]:
        last = key.rpartition("/")[2]
        if not last:
            return []
        stems = dict.fromkeys((last, without_extension(last)))
        entries = [self.entries[n] for stem in stems for n in self._by_stem.get(stem, ())]
        hits = ((entry, self._rank_of(entry, key)) for entry in entries)
        return [_Hit(self._order(entry, key, rank), entry) for entry, rank in hits if rank >= 0]

    def _rank_of(self, entry: Entry, key: str) -> int:
        """0 for the file itself, then by extension where the name has none; -1 for no match."""
        relative = self._key(entry.relative)
        if _ends_in(relative, key):
            return 0
        stem, extension = os.path.splitext(relative)
        extension = extension.lower()
        return 1 + RIVALS.index(extension) if extension in RIVALS and _ends_in(stem, key) else -1

    def _order(self, entry: Entry, key: str, rank: int) -> tuple[int, int, str, int]:
        parts = entry.relative.split("/")
        stripped = len(parts) - 1 - key.count("/")
        return (stripped, self._rank[entry.folder], "/".join(parts[:stripped]), rank)


def _ends_in(path: str, tail: str) -> bool:
    return path == tail or path.endswith(f"/{tail}")


def _one_a_directory(hits: list[_Hit]) -> list[_Hit]:
    best: dict[tuple[int, int, str], _Hit] = {}
    for hit in sorted(hits, key=lambda hit: hit.order):
        best.setdefault(hit.order[:3], hit)
    by_file: dict[Path, _Hit] = {}
    for hit in best.values():
        by_file.setdefault(hit.entry.path, hit)
    return list(by_file.values())


def _has_space(name: str) -> bool:
    return any(character.isspace() for character in name)


def _either(names: list[str]) -> str:
    return "' or '".join(names)
