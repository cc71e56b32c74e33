"""What was once found out about a file, kept until the file changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from .folder_scan import SETTLED_AFTER

Value = TypeVar("Value")


class FileCache(Generic[Value]):
    """`of(path, ...)` is `make(path, ...)`, kept until the file's stamp changes.

    The stamp is the time of the last change, the size and the file's identity.

    Of a file changed within the last seconds nothing is kept: its time stamp could not tell a
    further change. The values kept weigh at most `limit` together, one each unless `weigh` says
    otherwise; the oldest go first.
    """

    def __init__(
        self,
        make: Callable[..., Value],
        limit: int = 20_000,
        weigh: Callable[[Value], int] = lambda _: 1,
    ) -> None:
        self._make = make
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._kept: dict[tuple[str, ...], tuple[tuple[int, int, int], Value]] = {}

    def of(self, path: Path, *words: str) -> Value:
        """The value for this file. Raises OSError if it cannot be looked at, and what make does."""
        key = (os.fspath(path), *words)
        status = os.stat(path)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        value = self._make(path, *words)
        self._forget(key)
        if time.time_ns() - status.st_mtime_ns > SETTLED_AFTER:
            self._keep(key, stamp, value)
        return value

    def _keep(self, key: tuple[str, ...], stamp: tuple[int, int, int], value: Value) -> None:
        self._weight += self._weigh(value)
        self._kept[key] = (stamp, value)
        while self._weight > self._limit:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: tuple[str, ...]) -> None:
        forgotten = self._kept.pop(key, None)
        if forgotten is not None:
            self._weight -= self._weigh(forgotten[1])
