"""Text for a terminal: a progress bar on standard error, tables on standard output."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
_EVERY = 0.1


def say(text: str) -> None:
    """One or more lines to standard output."""
    sys.stdout.write(f"{text}\n")


def complain(text: str) -> None:
    """One line to standard error."""
    sys.stderr.write(f"{text}\n")


def with_progress(items: Iterable[Item], total: int, *, shown: bool) -> Iterator[Item]:
    """The items, with a bar that says how many of `total` are done, how fast, and how long yet."""
    started = drawn = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if shown and (now - drawn > _EVERY or done == total):
            drawn = now
            sys.stderr.write(f"\r{_bar(done, total, now - started)}\x1b[K")
            sys.stderr.flush()
    if shown:
        sys.stderr.write("\r\x1b[K")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other, the first row as their heads; numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(_cell(text, width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def _cell(text: str, width: int) -> str:
    return text.rjust(width) if text.replace(".", "").isdigit() else text.ljust(width)


def _bar(done: int, total: int, seconds: float) -> str:
    total = max(total, done)
    left = seconds / done * (total - done)
    tail = f" {done}/{total}  {done / max(seconds, 1e-9):.0f} files/s  {left:.0f} s left"
    room = max(10, min(40, shutil.get_terminal_size().columns - len(tail) - 3))
    filled = room * done // total
    return f"[{'#' * filled}{'.' * (room - filled)}]{tail}"
