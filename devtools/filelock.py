"""A lock between processes that the operating system lets go of when its holder ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[str]) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _unlock(file: IO[str]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


class FileLock:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def acquire(self, wait: bool) -> bool:
        """Take the lock; True if taken. Without ``wait`` a lock held elsewhere gives False."""
        file = self.path.open("a+", encoding="utf-8")
        while True:
            try:
                _try_lock(file)
            except OSError:
                if not wait:
                    file.close()
                    return False
                time.sleep(0.5)
            else:
                self._file = file
                file.truncate(0)
                file.write(str(os.getpid()))
                file.flush()
                return True

    def release(self) -> None:
        if self._file is not None:
            _unlock(self._file)
            self._file.close()
            self._file = None
