"""Lists the files below a folder, reading again only directories that changed since last time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .names import FILE_EXTENSIONS

logger = logging.getLogger(__name__)

SETTLED_AFTER = 3_000_000_000
"""Nanoseconds after which a directory's time stamp tells every later change (FAT counts in 2 s)."""


@dataclass(frozen=True)
class _Directory:
    changed: int
    settled: bool
    files: tuple[str, ...]
    directories: tuple[str, ...]


class FolderScan:
    """The embedding files below one folder. Links are followed, each directory is entered once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, _Directory] = {}
        self._unreadable: set[str] = set()

    def files(self) -> list[str]:
        """Paths relative to the folder, '/' between parts, in alphabetical order."""
        visited: set[str] = set()
        known: dict[str, _Directory] = {}
        found = list(self._below("", visited, known))
        self._known = known
        return sorted(found)

    def _below(
        self, relative: str, visited: set[str], known: dict[str, _Directory]
    ) -> Iterator[str]:
        place = os.path.realpath(self.folder / relative)
        if place in visited:
            return
        visited.add(place)
        try:
            directory = self._directory(relative)
        except OSError as error:
            self._note_unreadable(relative, error)
            return
        known[relative] = directory
        prefix = f"{relative}/" if relative else ""
        yield from (prefix + file for file in directory.files)
        for name in directory.directories:
            yield from self._below(prefix + name, visited, known)

    def _directory(self, relative: str) -> _Directory:
        path = self.folder / relative
        changed = path.stat().st_mtime_ns
        before = self._known.get(relative)
        if before is not None and before.settled and before.changed == changed:
            return before
        settled = time.time_ns() - changed > SETTLED_AFTER
        files, directories = [], []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != ".git":
                        directories.append(entry.name)
                elif entry.name.lower().endswith(FILE_EXTENSIONS) and entry.is_file():
                    files.append(entry.name)
        return _Directory(changed, settled, tuple(files), tuple(sorted(directories)))

    def _note_unreadable(self, relative: str, error: OSError) -> None:
        path = str(self.folder / relative)
        if not isinstance(error, FileNotFoundError) and path not in self._unreadable:
            self._unreadable.add(path)
            logger.warning("Embeddings in %s are left out: %s", path, error.strerror or error)
