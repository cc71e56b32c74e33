"""Lists the files below a folder, reading again only directories that changed since last time."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
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
FOLDER_LEADS_OUT = (
    "is a link to a folder outside the embeddings folders; add that folder to "
    "extra_model_paths.yaml as one of embeddings."
)

_ENDINGS = FILE_EXTENSIONS + CARD_EXTENSIONS


@dataclass(frozen=True, slots=True)
class _Directory:
    """What a directory held: files and directories by relative path, and what was left out."""

    path: str
    identity: tuple[int, int]
    changed: int
    settled: bool
    files: tuple[str, ...]
    directories: tuple[str, ...]
    left_out: Mapping[str, str]


class FolderScan:
    """The embedding files below one folder, each directory entered once.

    A link may lead anywhere within `homes`, the real paths of all embeddings folders. All other
    links are left out, as are devices and pipes.
    """

    def __init__(self, folder: Path, homes: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.files: list[str] = []
        self.left_out: dict[str, str] = {}
        self._homes = homes or (os.path.realpath(folder),)
        self._known: dict[str, _Directory] = {}
        self._stamps: list[tuple[str, int]] = []
        self._unreadable: dict[str, str] = {}

    def refresh(self) -> bool:
        """Look again; True if `files` changed.

        `files` are paths relative to the folder, '/' between parts, in alphabetical order;
        `left_out` says why a file or folder that is there is not among them.
        """
        if self._is_as_it_was():
            return False
        files, left_out = self.files, self.left_out
        unreadable, self._unreadable = self._unreadable, {}
        known: dict[str, _Directory] = {}
        self.files = sorted(self._below("", set(), known))
        self._known = known
        self.left_out = {name: why for one in known.values() for name, why in one.left_out.items()}
        told = all(directory.settled for directory in known.values()) and not self._unreadable
        self._stamps = [(one.path, one.changed) for one in known.values()] if told else []
        for path, reason in self._unreadable.items():
            if path not in unreadable:
                logger.warning("Embeddings in %s are left out: %s", path, reason)
        for relative, reason in self.left_out.items():
            if relative not in left_out:
                logger.warning("%s %s", self.folder / relative, reason)
        return self.files != files or self.left_out != left_out

    def _is_as_it_was(self) -> bool:
        """False after a change, and while a time stamp is too young to tell; 500 looks a ms."""
        try:
            for path, changed in self._stamps:
                if os.stat(path).st_mtime_ns != changed:
                    return False
        except OSError:
            return False
        return bool(self._stamps)

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
        yield from directory.files
        for below in directory.directories:
            yield from self._below(below, visited, known)

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
        stamp = (identity, status.st_mtime_ns)
        if before and before.settled and (before.identity, before.changed) == stamp:
            return before
        settled = time.time_ns() - status.st_mtime_ns > SETTLED_AFTER
        files, directories, left_out = self._listed(path, relative)
        return _Directory(path, *stamp, settled, files, directories, left_out)

    def _listed(
        self, path: str, relative: str
    ) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
        """Files, directories, and what is left out."""
        found: dict[str, list[str]] = {"folder": [], "file": [], "card": []}
        left_out = {}
        with os.scandir(path) as entries:
            for entry in entries:
                kind = _kind(entry)
                if not kind:
                    continue
                name = f"{relative}/{entry.name}" if relative else entry.name
                if _is_link(entry) and not self._is_at_home(entry.path):
                    left_out[name] = FOLDER_LEADS_OUT if kind == "folder" else LEADS_OUT
                else:
                    found[kind].append(name)
        files = (*found["file"], *_cards(found["card"], found["file"]))
        return files, tuple(sorted(found["folder"])), left_out

    def _is_at_home(self, link: str) -> bool:
        target = os.path.realpath(link)
        return any(_is_within(target, home) for home in self._homes)


def _kind(entry: os.DirEntry[str]) -> str:
    """'folder', 'file', 'card', or '' for what is none of the library's business."""
    try:
        if entry.is_dir():
            return "" if entry.name == ".git" else "folder"
        lower = entry.name.lower()
        if not lower.endswith(_ENDINGS) or not entry.is_file():
            return ""
        return "card" if lower.endswith(CARD_EXTENSIONS) else "file"
    except OSError:
        return ""


def _is_link(entry: os.DirEntry[str]) -> bool:
    """True for links, and for what Windows has of that kind."""
    if os.name != "nt" or entry.is_symlink():
        return entry.is_symlink()
    attributes = getattr(entry.stat(follow_symlinks=False), "st_file_attributes", 0)
    return bool(attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _cards(pictures: list[str], files: list[str]) -> list[str]:
    """The pictures that are not thumbnails: not x.preview.png, nor x.png beside x.safetensors."""
    shown = {os.path.splitext(file)[0] for file in files}
    stems = ((name, os.path.splitext(name)[0]) for name in pictures)
    return [name for name, stem in stems if stem not in shown and not stem.endswith(".preview")]
