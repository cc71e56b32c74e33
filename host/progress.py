"""A run's progress on its node: bar, preview picture, and a line with loss, speed and ETA."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import comfy.model_management
import comfy.utils
from PIL import Image

from ..training.events import Event, Finished, Probed, Stepped

Interrupted = comfy.model_management.InterruptProcessingException
"""What Cancel raises, out of any forward pass; in newer hosts it is no Exception."""

SECONDS_BETWEEN_LINES = 0.5
SPEED_WINDOW = 20


class NodeProgress:
    """Shows the events of a run on the node ``node_id``; each update is also a cancel point."""

    def __init__(self, steps: int, node_id: str | None) -> None:
        self.bar = comfy.utils.ProgressBar(steps, node_id=node_id)
        self.steps = steps
        self.node_id = node_id
        self.step = 0
        self.loss: float | None = None
        self.probe: tuple[float, float, int] | None = None
        self.started = time.perf_counter()
        self.marks: list[tuple[float, int]] = []
        self.last_line = 0.0

    def show(self, event: Event) -> None:
        """Take in one event; raises Interrupted after Cancel."""
        if isinstance(event, Stepped):
            self.step = event.step
            self.loss = event.loss if event.loss is not None else self.loss
            self.marks = [*self.marks[-SPEED_WINDOW:], (time.perf_counter(), event.step)]
            self.bar.update_absolute(event.step, self.steps)
        elif isinstance(event, Probed):
            self.probe = (event.initial_loss, event.best_loss, event.best_step)
        elif isinstance(event, Finished):
            self.bar.update_absolute(self.steps, self.steps)
            self._send(f"{self.line()} · {self.seconds:.0f} s")
            return
        now = time.perf_counter()
        if now - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = now
            self._send(self.line())

    def picture(self, image: Image.Image) -> None:
        """Show a preview picture on the node."""
        self.bar.update_absolute(self.step, self.steps, ("JPEG", image, 512))

    def cancelled(self, names: Sequence[str]) -> None:
        """Say on the node what is left of a run after Cancel."""
        words = ", ".join(f"embedding:{name}" for name in names)
        self._send(f"cancelled at step {self.step}/{self.steps}\nthe best so far is saved: {words}")

    def skip_time(self) -> None:
        """Forget the time since the last step, which went into something else."""
        self.marks = []

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.started

    @property
    def speed(self) -> float | None:
        """Steps a second over the latest steps."""
        if len(self.marks) < 2:
            return None
        (begin, first), (end, last) = self.marks[0], self.marks[-1]
        return (last - first) / max(end - begin, 1e-9)

    def line(self) -> str:
        """Two lines: 'step 120/400 · 0:54 left · 5.2 it/s' and, once known, the losses."""
        parts = [f"step {self.step}/{self.steps}"]
        if self.speed:
            left = round((self.steps - self.step) / self.speed)
            parts += [f"{left // 60}:{left % 60:02d} left", f"{self.speed:.2f} it/s"]
        losses = []
        if self.loss is not None:
            losses.append(f"loss {self.loss:.4f}")
        if self.probe is not None:
            first, best, step = self.probe
            losses.append(f"probe {first:.4f} -> {best:.4f} at step {step}")
        return "\n".join(" · ".join(each) for each in (parts, losses) if each)

    def _send(self, text: str) -> None:
        server = _server()
        if server is not None and self.node_id is not None:
            server.send_progress_text(text, self.node_id)


def _server() -> Any:
    """The running server, or None where ComfyUI is used as a library."""
    try:
        from server import PromptServer
    except ImportError:
        return None
    server = getattr(PromptServer, "instance", None)
    return server if hasattr(server, "send_progress_text") else None
