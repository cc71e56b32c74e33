"""What dev.py says: one line a long step, and one sentence when it cannot go on."""

from __future__ import annotations

import shutil
import sys
import threading
import time

REWRITE = "\r\x1b[K"


class DevError(Exception):
    """dev.py cannot go on; the message is one sentence that says what, where and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


class Step:
    """A long step: its title, what it is busy with and its seconds.

    On a terminal one line is rewritten in place; elsewhere a line is printed now and then, so
    that logs stay short.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.busy_with = ""
        self.started = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Step:
        if not self._terminal:
            say(f"{self.title} ...")
        self._clock.start()
        return self

    def update(self, busy_with: str) -> None:
        self.busy_with = busy_with

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._ended.set()
        self._clock.join()
        ending = "done" if kind is None else "stopped"
        start = REWRITE if self._terminal else ""
        say(f"{start}{self.title}: {ending} in {self._elapsed()}")

    def _tick(self) -> None:
        while not self._ended.wait(0.5 if self._terminal else 15.0):
            status = f"{self._elapsed()} {self.busy_with}".rstrip()
            if self._terminal:
                width = shutil.get_terminal_size().columns - 1
                print(REWRITE + f"{self.title}: {status}"[:width], end="", flush=True)
            else:
                say(f"  {status}")

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        return f"{minutes}:{seconds:02d}"
