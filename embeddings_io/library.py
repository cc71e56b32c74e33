"""The embeddings folders, indexed again only when something in them changed."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from .embedding import Embedding, EmbeddingError
from .folder_scan import FolderScan
from .formats import read
from .index import Entry, Index
from .names import check_name, safe_name

_HASH_BLOCK = 1 << 20


class Library:
    """Names and files of several folders; see Index for how a name is matched.

    Case counts unless the platform's files have none (Windows, macOS).
    """

    def __init__(self, folders: Sequence[Path], *, case_sensitive: bool | None = None) -> None:
        if case_sensitive is None:
            case_sensitive = sys.platform not in ("win32", "darwin")
        self._case_sensitive = case_sensitive
        once = {os.path.realpath(folder): Path(folder) for folder in reversed(folders)}
        self._scans = [FolderScan(folder) for folder in reversed(once.values())]
        self._lock = threading.Lock()
        self._listed: list[list[str]] = [[] for _ in self._scans]
        self._index = self._indexed()

    def index(self) -> Index:
        """The index of the files that are there now."""
        with self._lock:
            listed = [scan.files() for scan in self._scans]
            if listed != self._listed:
                self._listed = listed
                self._index = self._indexed()
            return self._index

    @property
    def folders(self) -> list[Path]:
        """The folders, the one that wins first."""
        return [scan.folder for scan in self._scans]

    def names(self) -> list[str]:
        """Every name once, sub-folders kept, in alphabetical order."""
        return self.index().names()

    def suggest(self, name: str) -> list[str]:
        """Existing names near a missing one, the nearest first."""
        return self.index().suggest(name)

    def resolve(self, name: str) -> Path:
        """The path of `name`. Raises EmbeddingError with near names if it is not in the library."""
        return self._entry(name).path

    def read(self, name: str) -> Embedding:
        """The embedding called `name`; a name that no prompt can hold is replaced by a near one."""
        entry = self._entry(name)
        return read(entry.path, _allowed(entry.name))

    def file_hash(self, name: str) -> str:
        """SHA-256 of the file, in hexadecimal."""
        digest = hashlib.sha256()
        with self.resolve(name).open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def fingerprint(self, name: str) -> str:
        """The file's hash, or 'missing'; never raises for a name that is not there."""
        return self.file_hash(name) if self.index().find(name) else "missing"

    def _entry(self, name: str) -> Entry:
        index = self.index()
        entry = index.find(name)
        if entry is None:
            raise EmbeddingError(index.missing_message(name))
        return entry

    def _indexed(self) -> Index:
        return Index(self.folders, self._listed, self._case_sensitive)


def _allowed(name: str) -> str:
    try:
        check_name(name)
    except EmbeddingError:
        return safe_name(name)
    return name
