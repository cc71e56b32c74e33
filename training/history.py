"""A run step by step, as rows for a table or a plot."""

from __future__ import annotations

import csv
import dataclasses
import io

from .events import Event, Probed, Stepped


@dataclasses.dataclass
class History:
    """What the events of a run told: (step, loss, rate) and (step, probe loss)."""

    steps: list[tuple[int, float | None, float]] = dataclasses.field(default_factory=list)
    probes: list[tuple[int, float]] = dataclasses.field(default_factory=list)

    def take(self, event: Event) -> None:
        """Remember one event."""
        if isinstance(event, Stepped):
            self.steps.append((event.step, event.loss, event.rate))
        elif isinstance(event, Probed):
            self.probes.append((event.step, event.loss))

    def as_csv(self) -> str:
        """A line for every step: step, learning_rate, loss, probe_loss; empty where not known."""
        probes = dict(self.probes)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", "learning_rate", "loss", "probe_loss"])
        if 0 in probes:
            writer.writerow([0, "", "", f"{probes[0]:.8g}"])
        for step, loss, rate in self.steps:
            probe = probes.get(step)
            writer.writerow(
                [
                    step,
                    f"{rate:.6g}",
                    "" if loss is None else f"{loss:.8g}",
                    "" if probe is None else f"{probe:.8g}",
                ]
            )
        return text.getvalue()
