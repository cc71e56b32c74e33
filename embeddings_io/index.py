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
    def file(self) -> str:
        """The path as the system takes it; for looking at the file, not for showing it."""
        return f"{self.folder}{os.sep}{self.relative}"

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
        self._left_out = dict(left_out or {})
        self._left_out |= {without_extension(name): why for name, why in self._left_out.items()}
        self._rank = {folder: number for number, folder in enumerate(folders)}
        self.entries = [
            Entry(folder, relative)
            for folder, files in zip(folders, listed, strict=True)
            for relative in files
        ]
        self._by_stem: dict[str, Entry | list[Entry]] = {}
        for entry in self.entries:
            self._file_under(self._key(without_extension(entry.relative.rpartition("/")[2])), entry)
        self._remembered: dict[str, tuple[Entry, ...]] = {}
        self._references: dict[str, str | None] = {}

    def names(self) -> list[str]:
        """Every name once, sub-folders kept, in alphabetical order."""
        return sorted({entry.name for entry in self.entries})

    def find(self, name: str) -> Entry | None:
        """The one file that `name` stands for, or None."""
        found = self._found(name)
        return found[0] if found else None

    def duplicates(self, name: str) -> list[Path]:
        """Files in other folders that ComfyUI could take for `name` as well."""
        return [entry.path for entry in self._found(name)[1:]]

    def reference(self, name: str) -> str | None:
        """What to write after 'embedding:' so that ComfyUI finds this file, or None if it cannot.

        That is the path below its folder; with extension where the bare name would mean another
        file too, or be read as a weight.
        """
        if name not in self._references:
            if len(self._references) >= _REMEMBERED:
                self._references.clear()
            entry = self.find(name)
            self._references[name] = None if entry is None else self._reference(entry)
        return self._references[name]

    def _reference(self, entry: Entry) -> str | None:
        if entry.is_card or _has_space(entry.relative):
            return None
        short, full = self._found(entry.name), self._found(entry.relative)
        is_first = bool(short) and short[0] == entry and not reads_as_number(entry.name)
        if is_first and (len(short) == 1 or len(full) > 1):
            return entry.name
        return entry.relative

    def suggest(self, name: str, count: int = 3) -> list[str]:
        """Existing names near a missing one, the nearest first."""
        wanted = without_extension(name.replace("\\", "/"))
        return near_names(wanted, self.names(), count)

    def missing_message(self, name: str) -> str:
        """One sentence for a name that is not there."""
        left_out = self._left_out_at(name.replace("\\", "/"))
        if left_out:
            return f"Embedding '{name}' {left_out}"
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

    def _left_out_at(self, name: str) -> str | None:
        """Why the file, or a folder that it would be in, is not in the library, or None."""
        if name in self._left_out:
            return self._left_out[name]
        parts = name.split("/")
        folders = ("/".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
        folder = next((folder for folder in folders if folder in self._left_out), None)
        return f"cannot be used: '{folder}' {self._left_out[folder]}" if folder else None

    def _key(self, name: str) -> str:
        name = name.replace("\\", "/")
        return name if self._case_sensitive else name.casefold()

    def _file_under(self, stem: str, entry: Entry) -> None:
        """Most names are one file's; a list for each would weigh more than the names."""
        before = self._by_stem.get(stem)
        if before is None:
            self._by_stem[stem] = entry
        elif isinstance(before, list):
            before.append(entry)
        else:
            self._by_stem[stem] = [before, entry]

    def _filed(self, stem: str) -> list[Entry]:
        found = self._by_stem.get(stem, [])
        return found if isinstance(found, list) else [found]

    def _found(self, name: str) -> tuple[Entry, ...]:
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
        entries = [entry for stem in stems for entry in self._filed(stem)]
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


def _one_a_directory(hits: list[_Hit]) -> tuple[Entry, ...]:
    if len(hits) < 2:
        return tuple(hit.entry for hit in hits)
    best: dict[tuple[int, int, str], _Hit] = {}
    for hit in sorted(hits, key=lambda hit: hit.order):
        best.setdefault(hit.order[:3], hit)
    by_file: dict[str, Entry] = {}
    for hit in best.values():
        by_file.setdefault(hit.entry.file, hit.entry)
    return tuple(by_file.values())


def _has_space(name: str) -> bool:
    return any(character.isspace() for character in name)


def _either(names: list[str]) -> str:
    return "' or '".join(names)
