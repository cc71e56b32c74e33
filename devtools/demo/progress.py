"""A line of progress from the messages that ComfyUI sends while a node works."""

from __future__ import annotations

import sys
import time

from ..console import REWRITE, say


class TrainingProgress:
    """Shows step, speed and remaining time of one node; call it with each message."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.step = 0
        self.rate = 0.0
        self.began: float | None = None
        self._first = 0
        self._shown = 0.0
        self._terminal = sys.stdout.isatty()

    def __call__(self, kind: str, data: dict) -> None:
        if kind != "progress" or data.get("node") != self.node:
            return
        now = time.monotonic()
        self.step, total = int(data["value"]), int(data["max"])
        if self.began is None:
            self.began, self._first = now, self.step
            return
        self.rate = (self.step - self._first) / max(now - self.began, 1e-6)
        if now - self._shown < (0.3 if self._terminal else 10.0) and self.step < total:
            return
        self._shown = now
        remaining = (total - self.step) / self.rate if self.rate else 0.0
        line = f"  step {self.step} of {total}, {self.rate:.1f} it/s, {remaining:.0f} s left"
        if self._terminal:
            print(REWRITE + line, end="", flush=True)
        else:
            say(line)

    def finish(self) -> None:
        if self._terminal:
            print(REWRITE, end="", flush=True)
