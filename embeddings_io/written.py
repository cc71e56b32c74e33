"""How often this process wrote a file, so that a library knows when to look again."""

from __future__ import annotations

_times = 0


def note() -> None:
    """Called after a file was written or replaced."""
    global _times
    _times += 1


def times() -> int:
    """The number of notes so far."""
    return _times
