"""What a run leaves on the disk on its way: a resume file, and snapshots where asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..embeddings_io.atomic import unwritable
from ..embeddings_io.embedding import Embedding, EmbeddingError
from ..embeddings_io.saving import save
from ..training.events import Event, Resumable
from ..training.resume import ResumeFile, identity
from ..training.trainer import Trainer
from .training_request import TrainingRequest


class RunFiles:
    """The files of one run, whose folder is made where there is none.

    Once it has begun a full disk never ends it: what can't be written is told once. Raises
    EmbeddingError where the folder can't be made.
    """

    def __init__(
        self, request: TrainingRequest, trainer: Trainer, notice: Callable[[str], None]
    ) -> None:
        self.request = request
        self.trainer = trainer
        self.notice = notice
        self.failed: set[str] = set()
        try:
            request.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(request.folder, error) from error
        self.resume = ResumeFile(
            request.folder,
            request.name,
            identity(
                trainer.recipe,
                trainer.best,
                trainer.dataset,
                trainer.source.good,
                trainer.sentences.words,
            ),
        )

    def go_on(self) -> bool:
        """Continue where this very run was interrupted; False where it begins anew."""
        state = self.resume.read() if self.trainer.recipe.resume else None
        if state is None or not self.trainer.resume(state):
            return False
        self.notice(f"The run goes on at step {self.trainer.steps_done}, where it was interrupted.")
        return True

    def take(self, event: Event) -> None:
        """Write the resume file when it is time."""
        if isinstance(event, Resumable) and self.trainer.recipe.resume:
            try:
                self.resume.write(self.trainer.state_dict())
            except OSError as error:
                self._tell("the resume file", error.strerror or str(error))

    def snapshot(self, embedding: Embedding, step: int) -> None:
        """Keep a mid-run embedding beside the file to come."""
        name = f"{embedding.name}-snapshots/step-{step:06d}"
        try:
            save(embedding.renamed(name), self.request.folder, overwrite=True)
        except EmbeddingError as error:
            self._tell("a snapshot", str(error))

    def done(self) -> None:
        """The run has ended and its result is saved."""
        with contextlib.suppress(OSError):
            self.resume.remove()

    def _tell(self, what: str, reason: str) -> None:
        if what not in self.failed:
            self.failed.add(what)
            self.notice(
                f"Could not write {what} into {self.request.folder}: {reason}; training goes on, "
                "so make room before it ends."
            )
