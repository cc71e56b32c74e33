"""Several words on models that are borrowed once: one after another, or all together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import torch

from ..embeddings_io.embedding import EmbeddingError
from ..host.borrow import Lent
from ..host.denoiser import ModelDenoiser
from ..host.latents import cache_latents
from ..host.progress import Interrupted, NodeProgress
from ..host.shortage import is_out_of_memory
from ..host.text_encoder import ClipTextEncoder
from ..training.captions import named
from ..training.dataset import CachedPicture, Dataset
from ..training.events import Vectors
from ..training.pictures import Picture
from ..training.trainer import Trainer
from .training_check import check, check_prompts
from .training_request import TrainingRequest, TrainingResult
from .training_run import Learnt, TrainingRun

MODES = ("auto", "one after another", "together")


class ConceptsRun:
    """Learns a word for every request, which share models, recipe and folder.

    Everything is checked and all pictures are encoded before the first step. A word that is
    learnt is saved before the next begins. Together, one run trains all vectors, and a prompt
    may hold several of the words.
    """

    def __init__(self, requests: Sequence[TrainingRequest], mode: str) -> None:
        if not requests:
            raise EmbeddingError("There are no concepts to learn; connect at least one Concept.")
        if mode not in MODES:
            raise EmbeddingError(f"The mode is {mode!r}; choose one of {', '.join(MODES)}.")
        self.requests = requests
        self.runs = [TrainingRun(request) for request in requests]
        self.names = [request.name for request in requests]
        for first, second in itertools.combinations(self.names, 2):
            if first.lower() == second.lower():
                raise EmbeddingError(
                    f"Two concepts are called '{second}'; give every concept a name of its own."
                )
        several = len(requests) > 1
        self.together = several and (mode == "together" or (mode == "auto" and self._mixed()))

    def execute(self) -> list[TrainingResult]:
        """Check everything, learn every word, save and show."""
        pictures = [self._checked(number) for number in range(len(self.runs))]
        first = self.requests[0]
        if self.together:
            encoder = ClipTextEncoder(first.clip, *self.runs[0].family.encoder_keys)
            check_prompts(first.recipe, encoder, itertools.chain(*pictures), self.names)
        cached = cache_latents(first.model, first.vae, list(itertools.chain(*pictures)))
        sizes = iter(cached)
        own = [list(itertools.islice(sizes, len(each))) for each in pictures]
        with self.runs[0].borrowed(cached) as lent:
            learn = self._learn_together if self.together else self._learn_each
            learnt = list(learn(lent, own))
        return [
            run.result(word, progress, shown[0])
            for run, (word, progress), shown in zip(self.runs, learnt, pictures, strict=True)
        ]

    def _mixed(self) -> bool:
        """True where a caption of one concept names another."""
        return any(
            named(name).search(caption)
            for request in self.requests
            for name in self.names
            if name != request.name
            for caption in request.captions
        )

    def _checked(self, number: int) -> list[Picture]:
        name = self.names[number]
        others = [each for each in self.names if each != name] if self.together else []
        found = check(self.requests[number], others, number if self.together else 0)
        return self.runs[number].take(found)

    def _learn_each(
        self, lent: Lent, own: Sequence[Sequence[CachedPicture]]
    ) -> Iterator[tuple[Learnt, NodeProgress]]:
        for run, cached in zip(self.runs, own, strict=True):
            progress = NodeProgress(run.recipe.steps, run.request.node_id)
            yield run.learn(lent, cached, progress), progress

    def _learn_together(
        self, lent: Lent, own: Sequence[Sequence[CachedPicture]]
    ) -> Iterator[tuple[Learnt, NodeProgress]]:
        first = self.runs[0]
        recipe = first.recipe
        encoder = ClipTextEncoder(lent.clip, *first.family.encoder_keys)
        denoiser = ModelDenoiser(lent)
        starts = [
            run.begin(encoder, denoiser, cached) for run, cached in zip(self.runs, own, strict=True)
        ]
        initial = {
            key: torch.cat([start.initial[key] for start in starts]) for key in starts[0].initial
        }
        dataset = Dataset(interleaved([start.dataset.pictures for start in starts]))
        trainer = Trainer(
            recipe,
            encoder,
            denoiser,
            dataset,
            initial,
            words=self.names,
            ran_out=is_out_of_memory,
        )
        for number, run in enumerate(self.runs):
            run.shown_rows = rows_of(number, recipe.num_vectors)
        first.companions = self.runs[1:]
        progress = NodeProgress(recipe.steps, first.request.node_id)
        try:
            finished = first.follow(trainer, lent, own[0][0], progress)
        except Interrupted:
            best = trainer.best_so_far()
            for number, run in enumerate(self.runs):
                run.keep(part(best, number, recipe.num_vectors), trainer)
            progress.cancelled(self.names)
            raise
        for number, run in enumerate(self.runs):
            run.history = first.history
            vectors = part(finished.vectors, number, recipe.num_vectors)
            word = dataclasses.replace(finished, vectors=vectors)
            yield run.saved(word, trainer, own[number][0]), progress


def interleaved(groups: Sequence[Sequence[CachedPicture]]) -> list[CachedPicture]:
    """The pictures of all concepts in turn, each picture with a number of its own."""
    numbered: list[list[CachedPicture]] = []
    passed = 0
    for group in groups:
        numbered.append([dataclasses.replace(each, source=each.source + passed) for each in group])
        passed += 1 + max(each.source for each in group)
    turns = itertools.zip_longest(*numbered)
    return [each for turn in turns for each in turn if each is not None]


def part(vectors: Vectors, number: int, num_vectors: int) -> dict[str, torch.Tensor]:
    """The vectors of concept ``number`` out of those of all."""
    rows = rows_of(number, num_vectors)
    return {key: each[rows].clone() for key, each in vectors.items()}


def rows_of(number: int, num_vectors: int) -> slice:
    """Where the vectors of concept ``number`` lie among those of all."""
    return slice(number * num_vectors, (number + 1) * num_vectors)
