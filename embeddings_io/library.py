"""The embeddings folders, indexed again only when something in them changed."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from . import facts, written
from .embedding import Embedding, EmbeddingError
from .facts import Facts, Findings
from .file_cache import FileCache
from .folder_scan import FolderScan
from .formats import read, read_many
from .formats.diffusers import second_file
from .index import Entry, Index
from .names import CARD_EXTENSIONS, check_name, safe_name, without_extension

FRESH_FOR = 1.0
"""Seconds for which a name that was found is looked up without looking at the folders again."""

MAX_KEPT = 8 * 1024 * 1024
"""Bytes of vectors kept for the next time; some thousand embeddings."""


class Library:
    """Names and files of several folders; see Index for how a name is matched.

    Case counts unless the platform's files have none (Windows, macOS). Facts are found out when
    first asked for and kept until the file changes.
    """

    def __init__(self, folders: Sequence[Path], *, case_sensitive: bool | None = None) -> None:
        if case_sensitive is None:
            case_sensitive = sys.platform not in ("win32", "darwin")
        self._case_sensitive = case_sensitive
        once = {os.path.realpath(folder): Path(folder) for folder in reversed(folders)}
        homes = tuple(once)
        self._scans = [FolderScan(folder, homes) for folder in reversed(once.values())]
        self._lock = threading.Lock()
        self._index = self._indexed()
        self._looked_at = -FRESH_FOR
        self._saves = -1
        self._embeddings = FileCache(_read_below, MAX_KEPT, _bytes, second_file)
        self._findings = FileCache(lambda _: Findings(), beside=second_file)

    def index(self) -> Index:
        """The index of the files that are there now."""
        with self._lock:
            self._saves = written.times()
            if any([scan.refresh() for scan in self._scans]):
                self._index = self._indexed()
            self._looked_at = time.monotonic()
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

    def duplicates(self, name: str) -> list[Path]:
        """Files in other folders that ComfyUI could take for `name` as well."""
        return self.index().duplicates(name)

    def read(self, name: str) -> Embedding:
        """The embedding called `name`; a name that no prompt can hold is replaced by a near one."""
        return self.read_entry(self._entry(name))

    def read_entry(self, entry: Entry) -> Embedding:
        """The embedding of a file in the index; kept until the file changes."""
        try:
            return self._embeddings.of(entry.file, entry.relative)
        except OSError as error:
            reason = error.strerror or error
            raise EmbeddingError(f"{entry.path.name} cannot be read: {reason}.") from error

    def read_many(self, name: str, rename: str = "") -> list[Embedding]:
        """All embeddings of a file; a bundle has several, called as the bundle calls them.

        Raises EmbeddingError where several would be renamed.
        """
        entry = self._entry(name)
        found = read_many(entry.path)
        if len(found) > 1 and rename:
            raise EmbeddingError(
                f"{entry.path.name} holds {len(found)} embeddings, which cannot all be called "
                f"'{rename[:80]}'; leave the name empty."
            )
        if len(found) == 1 and (rename or found[0].name == safe_name(entry.path.name)):
            return [found[0].renamed(rename or _allowed(entry.relative))]
        return found

    def facts(self, name: str) -> Facts:
        """What the file is, from its header. Raises EmbeddingError only for a missing name."""
        entry = self._entry(name)
        return self._findings.of(entry.file).facts(entry.path)

    def norms(self, name: str) -> dict[str, float]:
        """By encoder key the mean length of its vectors."""
        entry = self._entry(name)
        return self._findings.of(entry.file).norms(entry.path)

    def thumbnail(self, name: str) -> Image.Image | None:
        """The picture beside the file, else the one within it; never kept."""
        return facts.thumbnail(self.resolve(name))

    def file_hash(self, name: str) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return self._hash(self._entry(name).file)

    def fingerprint(self, name: str) -> str:
        """The hash of all that is read for the name, or 'missing'; a missing name is no error."""
        entry = self._find(name)
        if entry is None:
            return "missing"
        second = second_file(entry.file)
        files = [entry.file, *([second] if os.path.isfile(second) else [])]
        return " ".join(map(self._hash, files))

    def _hash(self, file: str) -> str:
        return self._findings.of(file).hash(Path(file))

    def _entry(self, name: str) -> Entry:
        entry = self._find(name)
        if entry is None:
            raise EmbeddingError(self._index.missing_message(name))
        return entry

    def _find(self, name: str) -> Entry | None:
        """A name found lately is only checked to be there still; for any other, look again."""
        fresh = time.monotonic() - self._looked_at < FRESH_FOR
        if fresh and self._saves == written.times():
            entry = self._index.find(name)
            if entry is not None and os.path.isfile(entry.file):
                return entry
        return self.index().find(name)

    def _indexed(self) -> Index:
        left_out = {name: why for scan in self._scans for name, why in scan.left_out.items()}
        listed = [scan.files for scan in self._scans]
        return Index(self.folders, listed, self._case_sensitive, left_out)


def _bytes(embedding: Embedding) -> int:
    return sum(rows.numel() * rows.element_size() for rows in embedding.vectors.values())


def _read_below(path: Path, relative: str) -> Embedding:
    return read(path, _allowed(relative))


def _allowed(relative: str) -> str:
    is_card = relative.lower().endswith(CARD_EXTENSIONS)
    name = os.path.splitext(relative)[0] if is_card else without_extension(relative)
    try:
        check_name(name)
    except EmbeddingError:
        return safe_name(name)
    return name
