"""What there is to tell after a run: a plot, a table of its steps, nearest words, difficulties."""

from __future__ import annotations

import dataclasses
import io
import logging
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image

from ..embeddings_io.atomic import replace_file
from ..embeddings_io.embedding import Embedding
from ..host.nearest_words import describe_vectors
from ..training.events import Finished
from ..training.history import History
from ..training.trainer import Trainer
from .training_plot import Plot

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class TrainingReport:
    """The plot of a finished run, its table of steps, and lines about vectors and pictures."""

    plot: Image.Image
    table: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    @property
    def picture(self) -> torch.Tensor:
        """The plot as ``[1, H, W, 3]`` in 0..1."""
        levels = torch.from_numpy(numpy.array(self.plot, dtype=numpy.uint8))
        return levels.float().div(255).unsqueeze(0)

    def write(self, folder: Path, name: str) -> Path | None:
        """Write ``name.csv`` and ``name.png``; None where the folder takes no files."""
        png = io.BytesIO()
        self.plot.save(png, "PNG")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            replace_file(folder / f"{name}.png", png.getvalue())
            replace_file(folder / f"{name}.csv", self.table.encode())
        except OSError as error:
            log.warning("The plot and the table of steps could not be written: %s", error)
            return None
        return folder / f"{name}.csv"


def _vectors(embedding: Embedding, clip: Any) -> list[str]:
    """Norms and nearest words, or nothing where the vocabulary can't be read."""
    try:
        return describe_vectors(clip, embedding.vectors)
    except (AttributeError, RuntimeError, TypeError) as error:
        log.warning("The nearest words could not be found: %s", error)
        return []


def report(
    embedding: Embedding, clip: Any, trainer: Trainer, finished: Finished, history: History
) -> TrainingReport:
    """Everything there is to tell about a finished run."""
    difficulties = trainer.difficulties
    pictures = difficulties.pictures()
    odd = difficulties.odd()
    losses = [(step, loss) for step, loss, _ in history.steps if loss is not None]
    title = f"{embedding.name}: {finished.step} steps, kept step {finished.best_step}"
    plot = Plot(title, trainer.curve, losses, finished.best_step, pictures, frozenset(odd))
    lines = [
        *_vectors(embedding, clip),
        *(
            f"picture {each.source + 1}: loss {each.loss_ratio:.2f} of the usual, agreement "
            f"{each.agreement:.2f}, seen {each.draws} times"
            for each in pictures
        ),
        *(
            f"timesteps near {share:.0%}: mean loss {loss:.4f}, {draws} draws"
            for share, loss, draws in difficulties.by_timestep()
        ),
    ]
    return TrainingReport(plot.draw(), history.as_csv(), tuple(lines))
