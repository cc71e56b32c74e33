"""Which pictures and timesteps are hard, from losses and gradients a step has at hand anyway.

Every sample of a batch has a text context of its own, so the backward pass knows where each would
pull the context before the samples are summed up. A picture whose pulls keep pointing away from
those of the others disagrees with them.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import torch

from .sphere import unit

BINS = 10
LEAST_DRAWS = 12
FAR_OFF = 4.0
LEAST_GAP = 0.05


@dataclasses.dataclass(frozen=True)
class PictureDifficulty:
    """One picture: its loss as a share of the others' at like timesteps, and its agreement.

    ``agreement`` is the mean cosine between a pull of this picture and one of another.
    """

    source: int
    draws: int
    loss_ratio: float
    agreement: float


class Difficulties:
    """Sums over a run, on the device where the losses are; reading them out is the only wait."""

    def __init__(self, sources: int, timesteps: int, device: torch.device) -> None:
        self.timesteps = timesteps
        self.losses = torch.zeros(sources, BINS, device=device)
        self.counts = torch.zeros(sources, BINS, device=device)
        self.pulls = torch.zeros(sources, 0, device=device)

    def add(
        self,
        sources: Sequence[int],
        timesteps: torch.Tensor,
        losses: torch.Tensor,
        pulls: torch.Tensor,
    ) -> None:
        """Take in a step: timesteps, losses ``[B]``, and dL/d context ``[B, tokens, width]``."""
        device = self.losses.device
        rows = torch.zeros(len(sources), self.losses.shape[0])
        rows[torch.arange(len(sources)), torch.tensor(sources)] = 1.0
        columns = torch.zeros(len(sources), BINS)
        bins = (timesteps * BINS).div(self.timesteps, rounding_mode="floor").clamp(0, BINS - 1)
        columns[torch.arange(len(sources)), bins] = 1.0
        rows, columns = rows.to(device), columns.to(device)
        finite = torch.isfinite(losses).all() & torch.isfinite(pulls).all()
        known = torch.where(finite, losses.float(), 0.0)
        self.losses += rows.T @ (known[:, None] * columns)
        self.counts += torch.where(finite, rows.T @ columns, 0.0)
        directions = unit(torch.where(finite, pulls.float(), 0.0).sum(dim=1))
        if self.pulls.shape[1] == 0:
            self.pulls = torch.zeros(len(self.pulls), directions.shape[1], device=device)
        self.pulls += rows.T @ directions

    def pictures(self) -> list[PictureDifficulty]:
        """Every picture that was drawn, in the order they were given."""
        losses, counts = self.losses.cpu().double(), self.counts.cpu().double()
        usual = losses.sum(dim=0) / counts.sum(dim=0).clamp_min(1)
        expected = (counts * usual).sum(dim=1)
        agreements = self._agreements()
        return [
            PictureDifficulty(
                source,
                int(counts[source].sum()),
                float(losses[source].sum() / expected[source]) if expected[source] > 0 else 1.0,
                agreements[source],
            )
            for source in range(len(losses))
            if counts[source].sum() > 0
        ]

    def _agreements(self) -> list[float]:
        """Of every source the mean of <P, Q> over the others' Q, P and Q being mean unit pulls."""
        draws = self.counts.sum(dim=1)
        mean = self.pulls / draws.clamp_min(1)[:, None]
        others = max(1, int((draws > 0).sum()) - 1)
        crossed = mean @ mean.sum(dim=0) - mean.square().sum(dim=1)
        agreements: list[float] = (crossed / others).tolist()
        return agreements

    def by_timestep(self) -> list[tuple[float, float, int]]:
        """(share of the schedule, mean loss, draws) of each tenth that was drawn."""
        losses, counts = self.losses.sum(dim=0).tolist(), self.counts.sum(dim=0).tolist()
        return [
            ((index + 0.5) / BINS, losses[index] / counts[index], int(counts[index]))
            for index in range(BINS)
            if counts[index]
        ]

    def odd(self) -> list[int]:
        """The pictures that stand apart from the others, by the number of their source."""
        return [each.source for each, _ in self._apart()]

    def remarks(self) -> list[str]:
        """A sentence for each picture that stands apart from the others."""
        return [
            f"Picture {each.source + 1} disagrees with the others (it pulls the word elsewhere: "
            f"agreement {each.agreement:.2f}, the others {middle:.2f}); look whether it shows the "
            "same thing."
            for each, middle in self._apart()
        ]

    def _apart(self) -> list[tuple[PictureDifficulty, float]]:
        """(picture, the others' median agreement) where the gap is far beyond their spread."""
        found = self.pictures()
        known = [each for each in found if each.draws >= LEAST_DRAWS]
        if len(known) < 3:
            return []
        apart = []
        for each in known:
            rest = [other.agreement for other in known if other is not each]
            middle = statistics.median(rest)
            spread = statistics.median([abs(value - middle) for value in rest])
            gap = middle - each.agreement
            if gap > max(LEAST_GAP, FAR_OFF * spread) and each.agreement < 0.5 * middle:
                apart.append((each, middle))
        return apart

    def state_dict(self) -> dict[str, Any]:
        """All that a bit-exact continuation needs, tensors alone."""
        return {
            "losses": self.losses,
            "counts": self.counts,
            "pulls": self.pulls,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        device = self.losses.device
        for name, value in state.items():
            setattr(self, name, value.to(device).clone())
