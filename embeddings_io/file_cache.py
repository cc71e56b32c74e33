"""What was once found out about a file, kept until the file changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from .folder_scan import SETTLED_AFTER

Value = TypeVar("Value")
Stamp = tuple[int, ...]


class FileCache(Generic[Value]):
    """`of(file, ...)` is `make(path, ...)`, kept until the file's stamp changes.

    The stamp is the time of the last change, the size and the file's identity; with `beside`, which
    names the file that belongs to a file, those of that one too, from when it is there.

    Of a file changed within the last seconds nothing is kept: its time stamp could not tell a
    further change. The values kept weigh at most `limit` together, one each unless `weigh` says
    otherwise; the oldest go first.
    """

    def __init__(
        self,
        make: Callable[..., Value],
        limit: int = 20_000,
        weigh: Callable[[Value], int] = lambda _: 1,
        beside: Callable[[str], str] | None = None,
    ) -> None:
        self._make = make
        self._limit = limit
        self._weigh = weigh
        self._beside = beside
        self._weight = 0
        self._kept: dict[str | tuple[str, ...], tuple[Stamp, Value]] = {}

    def of(self, file: Path | str, *words: str) -> Value:
        """The value for this file. Raises OSError if it cannot be looked at, and what make does."""
        file = os.fspath(file)
        key = (file, *words) if words else file
        stamp = self._stamp(file)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        value = self._make(Path(file), *words)
        self._forget(key)
        if time.time_ns() - max(stamp[::3]) > SETTLED_AFTER:
            self._keep(key, stamp, value)
        return value

    def _stamp(self, file: str) -> Stamp:
        """Time, size and identity, three numbers a file."""
        status = os.stat(file)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if self._beside is None:
            return stamp
        try:
            status = os.stat(self._beside(file))
        except OSError:
            return stamp
        return (*stamp, status.st_mtime_ns, status.st_size, status.st_ino)

    def _keep(self, key: str | tuple[str, ...], stamp: Stamp, value: Value) -> None:
        self._weight += self._weigh(value)
        self._kept[key] = (stamp, value)
        while self._weight > self._limit:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: str | tuple[str, ...]) -> None:
        forgotten = self._kept.pop(key, None)
        if forgotten is not None:
            self._weight -= self._weigh(forgotten[1])
