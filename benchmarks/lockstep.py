"""Many runs at once: every trainer is the pack's own, and the networks see all batches together.

A narrow network spends most of a small batch on overhead, and runs don't touch one another, so
that twelve of them side by side cost a fraction of twelve in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from microworld import concepts
from microworld.learning import Learner

KEY = "clip_l"


@dataclass(frozen=True)
class Run:
    """A concept learnt with a seed, which also chooses its pictures."""

    concept: concepts.Concept
    seed: int


@dataclass
class Learnt:
    """What a run held after so many pictures seen, what it kept in the end, and after how many."""

    marks: dict[int, torch.Tensor] = field(default_factory=dict)
    kept: torch.Tensor | None = None
    pictures_seen: int = 0


def learn(
    learner: Learner, runs: Sequence[Run], changes: Mapping[str, Any], marks: Sequence[int]
) -> list[Learnt]:
    """Train every run with one recipe; ``marks`` count pictures seen, 0 being the start."""
    from textual_inversion.host.borrow import borrow
    from textual_inversion.training.recipe import Recipe

    flip = changes.get("flip") == "on"
    cached = [learner.latents(each.concept, seed=each.seed, flip=flip) for each in runs]
    settings = [
        Recipe(kind=each.concept.kind, preview_every=0).changed(**{"seed": each.seed, **changes})
        for each in runs
    ]
    together = settings[0].batch_size * len(runs)
    with borrow(
        learner.sampler.model, learner.sampler.clip, batch_size=together, latent_area=64
    ) as lent:
        trainers = [
            learner.trainer(lent, each.concept, own, pictures)
            for each, own, pictures in zip(runs, settings, cached, strict=True)
        ]
        return _Table(trainers, marks).run()


@dataclass(frozen=True)
class _Request:
    batch: Any
    vectors: torch.Tensor


class _Seat:
    """Stands for one trainer's source of gradients: hands the batch in and waits for the rest."""

    pictures_at_once = None

    def __init__(self, number: int, ask: Callable[[int, _Request], Any]) -> None:
        self.number, self.ask = number, ask

    def step(self, batch: Any, trained: Mapping[str, torch.Tensor], *_: Any) -> Any:
        return self.ask(self.number, _Request(batch, trained[KEY]))


class _Table:
    """Trainers in threads of which one runs at a time, and the step they take together."""

    def __init__(self, trainers: Sequence[Any], marks: Sequence[int]) -> None:
        self.trainers, self.marks = list(trainers), set(marks)
        self.found = [Learnt() for _ in trainers]
        self.turn = threading.Condition(threading.RLock())
        self.alive = set(range(len(trainers)))
        self.asked: dict[int, _Request] = {}
        self.answers: dict[int, Any] = {}
        self.failure: BaseException | None = None

    def run(self) -> list[Learnt]:
        """All runs to their ends; raises what any of them raised."""
        for number in range(len(self.trainers)):
            threading.Thread(target=self._follow, args=(number,), daemon=True).start()
        with self.turn:
            while True:
                self.turn.wait_for(lambda: self.failure or len(self.asked) == len(self.alive))
                if self.failure:
                    self.turn.notify_all()
                    raise self.failure
                if not self.alive:
                    return self.found
                self.answers = self._together(dict(sorted(self.asked.items())))
                self.asked = {}
                self.turn.notify_all()

    def _ask(self, number: int, request: _Request) -> Any:
        self.asked[number] = request
        self.turn.notify_all()
        self.turn.wait_for(lambda: self.failure or number in self.answers)
        if self.failure:
            raise SystemExit
        return self.answers.pop(number)

    def _follow(self, number: int) -> None:
        from textual_inversion.training.events import Finished, Stepped

        trainer, found = self.trainers[number], self.found[number]
        trainer.gradients = _Seat(number, self._ask)
        batch = trainer.recipe.batch_size
        with self.turn:
            try:
                if 0 in self.marks:
                    found.marks[0] = trainer.initial[KEY].clone()
                for event in trainer.run():
                    if isinstance(event, Stepped) and event.step * batch in self.marks:
                        averaged = trainer.optimizers[KEY].averaged()
                        found.marks[event.step * batch] = averaged.detach().clone()
                    if isinstance(event, Finished):
                        found.kept, found.pictures_seen = event.vectors[KEY], event.step * batch
            except Exception as error:
                self.failure = error
            finally:
                self.alive.discard(number)
                self.turn.notify_all()

    def _together(self, asked: Mapping[int, _Request]) -> dict[int, Any]:
        """One pass forward and back for the batches of all; every run's own loss and gradient."""
        from textual_inversion.training.gradients import StepGradients
        from textual_inversion.training.prompts import renumbered
        from textual_inversion.training.protocols import TextContext
        from textual_inversion.training.pulls import equalised, lengths

        first = self.trainers[next(iter(asked))]
        encoder, denoiser, objective = first.encoder, first.denoiser, first.objective
        leaf = torch.cat([each.vectors for each in asked.values()]).detach().requires_grad_(True)
        rows: list[Any] = []
        places: list[int] = []
        for order, (number, each) in enumerate(asked.items()):
            sentences, count = self.trainers[number].sentences, len(each.vectors)
            unique = list(dict.fromkeys(each.batch.prompts))
            places += [len(rows) + unique.index(prompt) for prompt in each.batch.prompts]
            for prompt in unique:
                row = sentences.tokens(prompt)[KEY]
                owners = [order] * (len(row.slots) // count)
                rows.append({KEY: renumbered(row, owners, count)})
        context = encoder.encode(rows, {KEY: leaf}).context[torch.tensor(places)]
        latents = torch.cat([each.batch.latents for each in asked.values()])
        noise = torch.cat([each.batch.noise for each in asked.values()])
        sigmas = torch.cat([each.batch.sigmas for each in asked.values()])
        noisy = denoiser.add_noise(latents, noise, sigmas)
        denoised = denoiser.denoise(noisy, sigmas, TextContext(context, None))
        sizes = [len(each.batch.pictures) for each in asked.values()]
        losses = objective.losses(denoised, latents, sigmas).split(sizes)
        reduced = [objective.reduce(each) for each in losses]
        (found,) = torch.autograd.grad(torch.stack(reduced).sum(), [context])
        pulls = found.split(sizes)
        if first.recipe.equal_pulls:
            found = torch.cat([equalised([each], lengths([each]), None)[0] for each in pulls])
        (gradients,) = torch.autograd.grad(context, [leaf], found)
        own = gradients.split([len(each.vectors) for each in asked.values()])
        parts = zip(asked, reduced, losses, own, pulls, strict=True)
        return {
            number: StepGradients(loss.detach(), each.detach(), [gradient], pull)
            for number, loss, each, gradient, pull in parts
        }
