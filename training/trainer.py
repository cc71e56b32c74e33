"""The loop: draws a step, follows the gradient of the vectors alone, tells what happened."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import torch

from . import schedules
from .adamw import AdamW
from .batches import Batch, BatchSource
from .dataset import Dataset
from .difficulty import Difficulties
from .events import (
    Event,
    Finished,
    Previewed,
    Probed,
    Resumable,
    RolledBack,
    Snapshotted,
    Stepped,
    SteppedDown,
)
from .failures import (
    DIVERGED,
    NO_LOSS,
    NO_MEMORY,
    NO_NUMBERS,
    TrainingError,
    check_gradients,
)
from .gradients import GradientSource, StepGradients
from .guard import Guard, VectorOptimizer
from .objective import Objective
from .plateau import has_diverged, has_plateaued
from .probe import ProbeBank
from .protocols import Denoiser, TextEncoder
from .recipe import Recipe
from .sentences import Sentences
from .shortage import is_out_of_memory
from .sphere import SphereOptimizer

__all__ = ["Trainer", "TrainingError", "trained_keys"]

CPU_PROMPTS = 1
LOSS_READOUT_EVERY = 5


class Trainer:
    """A resumable run; iterate over :meth:`run` and it trains.

    Only the ``[n, d]`` vectors of ``initial`` are ever differentiated. Every draw comes from
    the run's own generators, so a seed decides the result. With the names of several concepts in
    ``words`` their vectors are learnt together, one concept's after another's in ``initial``.
    With ``good`` pictures the word is to explain those of ``dataset`` and not these.
    ``ran_out`` says of an exception whether memory ran out.
    """

    def __init__(
        self,
        recipe: Recipe,
        encoder: TextEncoder,
        denoiser: Denoiser,
        dataset: Dataset,
        initial: Mapping[str, torch.Tensor],
        *,
        words: Sequence[str] = (),
        good: Dataset | None = None,
        ran_out: Callable[[BaseException], bool] = is_out_of_memory,
    ) -> None:
        self.recipe = recipe
        self.encoder = encoder
        self.denoiser = denoiser
        self.dataset = dataset
        self.ran_out = ran_out
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.rate = schedules.of_recipe(recipe)
        self.sentences = Sentences(recipe, encoder, words)
        self.sentences.check(dataset.pictures)
        self.objective = Objective(recipe, denoiser.prediction)
        self.source = BatchSource(
            recipe,
            dataset,
            self.sentences,
            denoiser.sigmas.cpu(),
            _prompts_per_step(recipe, denoiser),
            good,
        )
        self.empty = encoder.tokenize("", 0) if good is not None else None
        trained = trained_keys(recipe, list(initial))
        self.optimizers = {key: _optimizer(recipe, encoder, key, initial[key]) for key in trained}
        self.initial = dict(initial)
        self.fixed = {key: rows for key, rows in initial.items() if key not in trained}
        self.guard = Guard(self.optimizers, denoiser.loss_scale, denoiser.device)
        self.gradients = GradientSource(
            encoder, denoiser, self.sentences, self.objective, self.empty
        )
        self.bank = ProbeBank.build(
            dataset,
            self.sentences,
            self.source.probabilities,
            denoiser,
            size=recipe.probe_size,
            objective=self.objective,
            generator=torch.Generator().manual_seed(recipe.seed + 1),
            good=good,
            empty=self.empty,
        )
        self.difficulties = Difficulties(
            1 + max(each.source for each in dataset.pictures),
            len(denoiser.sigmas),
            denoiser.device,
        )
        self.steps_done = 0
        self.curve: list[tuple[int, float]] = []
        self.best_step = 0
        self.best_loss = math.inf
        self.best = self._detached(initial)

    def run(self) -> Iterator[Event]:
        """Train to the end of the recipe or to the plateau, yielding what happens."""
        if not self.curve:
            yield from self._probe()
        reason = "steps"
        while self.steps_done < self.recipe.steps and reason == "steps":
            yield from self._step()
            last = self.steps_done == self.recipe.steps
            if self._readout_due() and self.guard.is_stuck():
                reason = yield from self._roll_back()
            elif last or self.steps_done % self.recipe.probe_every == 0:
                reason = yield from self._measure(last)
            if self._due(self.recipe.snapshot_every):
                yield Snapshotted(self.steps_done, self._detached(self._averaged()))
            if self._due(self.recipe.preview_every) and not last:
                yield Previewed(self.steps_done, self.best)
        if self.recipe.keep == "last":
            self.best = self._detached(self._averaged())
            self.best_step, self.best_loss = self.curve[-1]
        yield Finished(
            self.steps_done, reason, self.best, self.best_step, self.curve[0][1], self.best_loss
        )

    def best_so_far(self) -> dict[str, torch.Tensor]:
        """The best vectors measured; before any measurement of a step, the latest ones."""
        if len(self.curve) <= 1 and self.steps_done:
            return self._detached(self._averaged())
        return dict(self.best)

    def state_dict(self) -> dict[str, Any]:
        """Everything a bit-exact continuation needs, besides what the constructor was given."""
        return {
            "steps_done": self.steps_done,
            "curve": [list(point) for point in self.curve],
            "best_step": self.best_step,
            "best_loss": self.best_loss,
            "best": dict(self.best),
            "guard": self.guard.state_dict(),
            "pictures_at_once": self.gradients.pictures_at_once,
            "generator": self.generator.get_state(),
            "dataset": self.dataset.state_dict(),
            "good": {} if self.source.good is None else self.source.good.state_dict(),
            "difficulties": self.difficulties.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict` of a trainer made with the same arguments."""
        self.steps_done = state["steps_done"]
        self.curve = [(step, loss) for step, loss in state["curve"]]
        self.best_step = state["best_step"]
        self.best_loss = state["best_loss"]
        self.best = dict(state["best"])
        self.guard.load_state_dict(state["guard"])
        self.gradients.pictures_at_once = state["pictures_at_once"]
        self.generator.set_state(state["generator"])
        self.dataset.load_state_dict(state["dataset"])
        if self.source.good is not None:
            self.source.good.load_state_dict(state["good"])
        self.difficulties.load_state_dict(state["difficulties"])

    def resume(self, state: Mapping[str, Any]) -> bool:
        """Continue from ``state`` if models and pictures measure as they did; else start anew."""
        measured = self._bank_loss(self._averaged())
        if not state["curve"] or not math.isclose(measured, state["curve"][0][1], rel_tol=1e-6):
            return False
        self.load_state_dict(state)
        return True

    def _step(self) -> Iterator[Event]:
        step, rate = self.steps_done, self.rate(self.steps_done)
        batch = self.source.draw(self.generator)
        found = yield from self._gradients(batch)
        if step == 0:
            check_gradients(list(self.optimizers), found)
        if found.pulls is not None:
            self._note(batch, found.each, found.pulls)
        self.guard.update(found.loss, found.gradients, rate)
        self.steps_done = step + 1
        value = float(found.loss) if self._readout_due() else None
        yield Stepped(self.steps_done, self.recipe.steps, value, self.guard.rate_factor * rate)

    def _gradients(self, batch: Batch) -> Generator[Event, None, StepGradients]:
        """Loss and gradients of a batch; where memory runs out, again in a way that needs less."""
        vectors = {key: each.vectors() for key, each in self.optimizers.items()}
        while True:
            try:
                return self.gradients.step(batch, vectors, self.fixed, self.guard.loss_scale)
            except Exception as error:
                if not self.ran_out(error):
                    raise
                failure = error.with_traceback(None)
            yield SteppedDown(self.steps_done, self._step_down(failure))

    def _step_down(self, failure: BaseException) -> str:
        if self.denoiser.save_memory():
            return "memory ran out: parts of the network are now computed twice"
        if self.gradients.pictures_at_once != 1 and self.recipe.batch_size > 1:
            self.gradients.pictures_at_once = 1
            return "memory ran out: the batch is now learnt from one picture at a time"
        raise TrainingError(NO_MEMORY) from failure

    def _readout_due(self) -> bool:
        on_cpu = self.denoiser.device.type == "cpu"
        return on_cpu or self.steps_done % LOSS_READOUT_EVERY == 0

    def _roll_back(self) -> Generator[Event, None, str]:
        """Return to the last good state, or end with the best there is."""
        if self.guard.roll_back():
            yield RolledBack(self.steps_done, self.guard.rate_factor)
            return "steps"
        if self.best_step == 0:
            raise TrainingError(NO_NUMBERS.format(step=self.steps_done))
        return "no numbers"

    def _measure(self, last: bool) -> Generator[Event, None, str]:
        """Probe; gives the reason to stop, 'steps' for none."""
        measured = len(self.curve)
        yield from self._probe()
        if len(self.curve) == measured:
            return (yield from self._roll_back())
        if not last and self._should_stop():
            return "plateau"
        if not last and self._has_diverged():
            return "diverged"
        yield Resumable(self.steps_done)
        return "steps"

    def _note(self, batch: Batch, each: torch.Tensor, pulls: torch.Tensor) -> None:
        """Remember how hard each picture was, and where it pulled."""
        count = len(batch.pictures) if self.empty is None else len(batch.pictures) // 2
        sources = [picture.source for picture in batch.pictures[:count]]
        self.difficulties.add(sources, batch.timesteps[:count], each[:count], pulls[:count])

    def _probe(self) -> Iterator[Event]:
        """Measure the bank; what is no number is not written down."""
        averaged, one_by_one = self._averaged(), self.bank.rows_at_once == 1
        loss = self._bank_loss(averaged)
        if self.bank.rows_at_once == 1 and not one_by_one:
            yield SteppedDown(
                self.steps_done, "memory ran out: the probe bank is now measured one by one"
            )
        if not math.isfinite(loss):
            if not self.curve:
                raise TrainingError(NO_LOSS)
            return
        self.curve.append((self.steps_done, loss))
        self.guard.remember()
        if loss < self.best_loss:
            self.best_loss, self.best_step = loss, self.steps_done
            self.best = self._detached(averaged)
        yield Probed(self.steps_done, loss, self.curve[0][1], self.best_loss, self.best_step)

    def _bank_loss(self, vectors: Mapping[str, torch.Tensor]) -> float:
        """The probe bank's mean loss; where memory runs out, it is measured one by one."""
        try:
            return self.bank.measure(self.encoder, self.denoiser, vectors)
        except Exception as error:
            if not self.ran_out(error):
                raise
            failure = error.with_traceback(None)
        if self.bank.rows_at_once == 1:
            raise TrainingError(NO_MEMORY) from failure
        self.bank.rows_at_once = 1
        return self._bank_loss(vectors)

    def _averaged(self) -> dict[str, torch.Tensor]:
        learnt = {key: each.averaged() for key, each in self.optimizers.items()}
        return {key: learnt.get(key, rows) for key, rows in self.initial.items()}

    def _should_stop(self) -> bool:
        return (
            self.recipe.early_stop
            and self.steps_done >= self.recipe.early_stop_after
            and has_plateaued([loss for _, loss in self.curve])
        )

    def _has_diverged(self) -> bool:
        """Whether the curve ran away; raises TrainingError where nothing better came before."""
        losses = [loss for _, loss in self.curve]
        if not self.recipe.early_stop or not has_diverged(losses):
            return False
        if self.best_step == 0:
            first, now = losses[0], losses[-1]
            raise TrainingError(DIVERGED.format(step=self.steps_done, loss=now, first=first))
        return True

    def _due(self, every: int) -> bool:
        return bool(every) and self.steps_done % every == 0

    @staticmethod
    def _detached(vectors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            key: each.detach().to("cpu", torch.float32, copy=True) for key, each in vectors.items()
        }


def _optimizer(
    recipe: Recipe, encoder: TextEncoder, key: str, vectors: torch.Tensor
) -> VectorOptimizer:
    if recipe.optimizer == "adamw":
        return AdamW(vectors, weight_decay=recipe.weight_decay, averaging=recipe.averaging)
    return SphereOptimizer(
        vectors,
        encoder.vocabulary_norm(key),
        momentum=recipe.momentum,
        gradient_averaging=recipe.gradient_averaging,
        prior=recipe.prior,
        averaging=recipe.averaging,
    )


def _prompts_per_step(recipe: Recipe, denoiser: Denoiser) -> int:
    if recipe.prompts_per_step:
        return recipe.prompts_per_step
    return CPU_PROMPTS if denoiser.device.type == "cpu" else recipe.batch_size


def trained_keys(recipe: Recipe, keys: Sequence[str]) -> list[str]:
    """The encoders whose vectors are learnt; raises TrainingError for one the model lacks."""
    if recipe.encoders == "all":
        return list(keys)
    if recipe.encoders not in keys:
        raise TrainingError(
            f"encoders is {recipe.encoders}, but this model's text encoder is "
            f"{' and '.join(keys)}; set encoders to all."
        )
    return [recipe.encoders]
