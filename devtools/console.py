"""What dev.py says: one line a long step, and one sentence when it cannot go on."""

from __future__ import annotations

import sys
import time


class DevError(Exception):
    """dev.py cannot go on; the message is one sentence that says what, where and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


class Step:
    """A long step: its title, what it is busy with and its seconds.

    On a terminal one line is rewritten in place; elsewhere a line is printed every
    ``interval`` seconds, so that logs stay short.
    """

    def __init__(self, title: str, interval: float = 10.0) -> None:
        self.title = title
        self.interval = interval
        self.started = time.monotonic()
        self._printed = self.started
        self._terminal = sys.stdout.isatty()

    def __enter__(self) -> Step:
        if not self._terminal:
            say(f"{self.title} ...")
        return self

    def update(self, text: str = "") -> None:
        line = f"{self.title}: {text} ({self._clock()})" if text else self.title
        if self._terminal:
            print(f"\r\x1b[K{line[:110]}", end="", flush=True)
        elif time.monotonic() - self._printed >= self.interval:
            self._printed = time.monotonic()
            say(f"  {line}")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        ending = "done" if kind is None else "stopped"
        start = "\r\x1b[K" if self._terminal else ""
        say(f"{start}{self.title}: {ending} in {self._clock()}")

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        return f"{minutes}:{seconds:02d}"
