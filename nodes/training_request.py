"""What a person asks of a training run, and what comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..embeddings_io.embedding import Embedding
from ..training.recipe import Recipe
from .training_report import TrainingReport


@dataclasses.dataclass(frozen=True)
class TrainingRequest:
    """What a person asked for."""

    model: Any
    clip: Any
    vae: Any
    images: Sequence[torch.Tensor]
    captions: Sequence[str]
    name: str
    initializer_text: str
    recipe: Recipe
    overwrite: bool
    folder: Path
    base_model: str = ""
    node_id: str | None = None
    masks: Sequence[torch.Tensor] = ()
    good_images: Sequence[torch.Tensor] = ()
    initializer: Embedding | None = None
    notices: tuple[str, ...] = ()
    records: Path | None = None


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came of it: the embedding, its file, pictures of before and after, and figures."""

    embedding: Embedding
    path: Path
    previews: torch.Tensor
    curve: list[float]
    figures: dict[str, Any]
    told: TrainingReport
    notices: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The figures as lines for a person, after what there is to notice."""
        lines = [f"{name}: {value}" for name, value in self.figures.items()]
        return "\n".join([*self.notices, *lines, *self.told.lines])

    def report(self) -> dict[str, list[Any]]:
        """The figures for the node and for headless users, in the form ``ui`` needs."""
        return {"text": [self.text]} | {name: [value] for name, value in self.figures.items()}
