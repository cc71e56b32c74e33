"""Lists the files below a folder, reading again only directories that changed since last time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .names import CARD_EXTENSIONS, FILE_EXTENSIONS

logger = logging.getLogger(__name__)

SETTLED_AFTER = 3_000_000_000
"""Nanoseconds after which a time stamp tells every later change (FAT counts in 2 s)."""

LEADS_OUT = (
    "is a link to a file outside the embeddings folders; put the file itself there, or add its "
    "folder to extra_model_paths.yaml."
)

_ENDINGS = FILE_EXTENSIONS + CARD_EXTENSIONS


@dataclass(frozen=True, slots=True)
class _Directory:
    path: str
    identity: tuple[int, int]
    changed: int
    settled: bool
    files: tuple[str, ...]
    directories: tuple[str, ...]

    def is_as_it_was(self) -> bool:
        """False after a change, and while the time stamp is too young to tell."""
        try:
            return self.settled and os.stat(self.path).st_mtime_ns == self.changed
        except OSError:
            return False


class FolderScan:
    """The embedding files below one folder.

    Links to directories are followed, and each directory is entered once. A link to a file is
    followed within the directory it lies in and within `homes`; others are left out, as are
    devices and pipes.
    """

    def __init__(self, folder: Path, homes: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.files: list[str] = []
        self.left_out: dict[str, str] = {}
        self._homes = homes or (os.path.realpath(folder),)
        self._known: dict[str, _Directory] = {}
        self._unreadable: dict[str, str] = {}

    def refresh(self) -> bool:
        """Look again; True if `files` changed.

        `files` are paths relative to the folder, '/' between parts, in alphabetical order;
        `left_out` says why a file that is there is not among them.
        """
        if self._is_as_it_was():
            return False
        before, left_out = self.files, self.left_out
        unreadable, self._unreadable, self.left_out = self._unreadable, {}, {}
        known: dict[str, _Directory] = {}
        self.files = sorted(self._below("", set(), known))
        self._known = known
        for path, reason in self._unreadable.items():
            if path not in unreadable:
                logger.warning("Embeddings in %s are left out: %s", path, reason)
        for relative, reason in self.left_out.items():
            if relative not in left_out:
                logger.warning("%s %s", self.folder / relative, reason)
        return self.files != before or self.left_out != left_out

    def _is_as_it_was(self) -> bool:
        if self._unreadable or "" not in self._known:
            return False
        return all(directory.is_as_it_was() for directory in self._known.values())

    def _below(
        self, relative: str, visited: set[tuple[int, int]], known: dict[str, _Directory]
    ) -> Iterator[str]:
        path = os.path.join(self.folder, relative) if relative else str(self.folder)
        try:
            directory = self._directory(path, relative, visited)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._unreadable[path] = error.strerror or str(error)
            return
        if directory is None:
            return
        known[relative] = directory
        prefix = f"{relative}/" if relative else ""
        yield from (prefix + file for file in directory.files)
        for name in directory.directories:
            yield from self._below(prefix + name, visited, known)

    def _directory(
        self, path: str, relative: str, visited: set[tuple[int, int]]
    ) -> _Directory | None:
        """The directory's content, or None where it was entered before by another way."""
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if identity in visited:
            return None
        visited.add(identity)
        before = self._known.get(relative)
        if (
            before
            and before.settled
            and (before.identity, before.changed)
            == (
                identity,
                status.st_mtime_ns,
            )
        ):
            return before
        settled = time.time_ns() - status.st_mtime_ns > SETTLED_AFTER
        files, directories = self._listed(path, relative)
        return _Directory(path, identity, status.st_mtime_ns, settled, files, directories)

    def _listed(self, path: str, relative: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        files, pictures, directories = [], [], []
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir():
                    if entry.name != ".git":
                        directories.append(entry.name)
                elif entry.name.lower().endswith(_ENDINGS) and entry.is_file():
                    if entry.is_symlink() and not self._stays(entry.path, path):
                        name = f"{relative}/{entry.name}" if relative else entry.name
                        self.left_out[name] = LEADS_OUT
                    elif entry.name.lower().endswith(CARD_EXTENSIONS):
                        pictures.append(entry.name)
                    else:
                        files.append(entry.name)
        return (*files, *_cards(pictures, files)), tuple(sorted(directories))

    def _stays(self, link: str, directory: str) -> bool:
        target = os.path.realpath(link)
        homes = (*self._homes, os.path.realpath(directory))
        return any(target.startswith(os.path.join(home, "")) for home in homes)


def _cards(pictures: list[str], files: list[str]) -> list[str]:
    """The pictures that are not thumbnails: not x.preview.png, nor x.png beside x.safetensors."""
    shown = {os.path.splitext(file)[0] for file in files}
    stems = ((name, os.path.splitext(name)[0]) for name in pictures)
    return [name for name, stem in stems if stem not in shown and not stem.endswith(".preview")]
