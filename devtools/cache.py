"""The cache folder: artefacts that appear whole or not at all, whoever else is at work in it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .console import DevError, say
from .filelock import FileLock

STAMP = ".complete.json"


class Cache:
    """A folder of artefacts, each made in a staging folder, stamped, and renamed into place.

    An artefact whose making was interrupted has no stamp and is made again. A lock held by the
    operating system for as long as its process lives keeps two makers of one artefact apart.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DevError(
                f"The cache folder {self.folder} cannot be made ({error.strerror}); "
                "choose another with --cache or TI_CACHE."
            ) from error

    def artefact(self, name: str, make: Callable[[Path], None]) -> Path:
        """The folder ``name``, made by ``make(staging folder)`` if it is not there whole."""
        target = self.folder / name
        if (target / STAMP).is_file():
            return target
        with self.lock(name):
            if (target / STAMP).is_file():
                return target
            staging = self.folder / f"{name}.partial"
            _remove(staging)
            _remove(target)
            staging.mkdir()
            make(staging)
            (staging / STAMP).write_text(json.dumps({"name": name}), encoding="utf-8")
            staging.rename(target)
        return target

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock of ``name``; where another process holds it, say so and wait."""
        lock = FileLock(self.folder / f"{name}.lock")
        if not lock.acquire(wait=False):
            say(f"Another command is preparing {name}; waiting for it ...")
            lock.acquire(wait=True)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def private_folder(self, purpose: str, keep: bool = False) -> Iterator[Path]:
        """A new folder for one run, removed afterwards unless ``keep``."""
        runs = self.folder / "runs"
        runs.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=runs))
        try:
            yield folder
        finally:
            if not keep:
                _remove(folder)


def default_folder() -> Path:
    """TI_CACHE, or a folder of ours in the place where this system keeps users' caches."""
    if chosen := os.environ.get("TI_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        place = Path.home() / "Library" / "Caches"
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return place / "textual-inversion"


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=sys.platform == "win32")
