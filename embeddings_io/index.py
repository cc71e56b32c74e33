"""What a name stands for among the files of several folders: always the same one file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .names import reads_as_number, without_extension
from .saving import RIVALS


@dataclass(frozen=True)
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


@dataclass(frozen=True)
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
        self, folders: Sequence[Path], listed: Sequence[Sequence[str]], case_sensitive: bool
    ) -> None:
        self._folders = list(folders)
        self._case_sensitive = case_sensitive
        self.entries: list[Entry] = []
        hits: dict[str, list[_Hit]] = {}
        for number, (folder, files) in enumerate(zip(folders, listed, strict=True)):
            for relative in files:
                entry = Entry(folder, relative)
                self.entries.append(entry)
                for key, hit in self._hits_of(entry, number):
                    hits.setdefault(key, []).append(hit)
        self._hits = {key: _one_a_directory(found) for key, found in hits.items()}

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
        if entry is None or _has_space(entry.relative):
            return None
        short, full = self._found(entry.name), self._found(entry.relative)
        is_first = bool(short) and short[0].entry == entry and not reads_as_number(entry.name)
        if is_first and (len(short) == 1 or len(full) > 1):
            return entry.name
        return entry.relative

    def suggest(self, name: str, count: int = 3) -> list[str]:
        """Existing names near a missing one, the nearest first."""
        wanted = without_extension(name.replace("\\", "/")).casefold()
        by_fold: dict[str, str] = {}
        for known in self.names():
            by_fold.setdefault(known.casefold(), known)
            by_fold.setdefault(known.rpartition("/")[2].casefold(), known)
        near = difflib.get_close_matches(wanted, by_fold, n=2 * count, cutoff=0.6)
        near += [fold for fold in by_fold if len(wanted) > 1 and fold.startswith(wanted)]
        return list(dict.fromkeys(by_fold[fold] for fold in near))[:count]

    def missing_message(self, name: str) -> str:
        """One sentence for a name that is not there."""
        near = self.suggest(name)
        if near and _has_space(near[0]):
            return (
                f"Embedding '{name}' not found; '{near[0]}' has a space, which no prompt can hold, "
                "so rename that file or use Load Embedding."
            )
        if near:
            return f"Embedding '{name}' not found. Did you mean '{_either(near)}'?"
        places = ", ".join(str(folder) for folder in self._folders)
        return f"Embedding '{name}' not found in {places or 'any folder'}."

    def _key(self, name: str) -> str:
        name = name.replace("\\", "/")
        return name if self._case_sensitive else name.casefold()

    def _found(self, name: str) -> list[_Hit]:
        return self._hits.get(self._key(name), [])

    def _hits_of(self, entry: Entry, number: int) -> Iterator[tuple[str, _Hit]]:
        parts = entry.relative.split("/")
        extension = os.path.splitext(entry.relative)[1].lower()
        for stripped in range(len(parts)):
            place = "/".join(parts[:stripped])
            tail = "/".join(parts[stripped:])
            yield self._key(tail), _Hit((stripped, number, place, 0), entry)
            if extension in RIVALS:
                rank = 1 + RIVALS.index(extension)
                stem = self._key(without_extension(tail))
                yield stem, _Hit((stripped, number, place, rank), entry)


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
