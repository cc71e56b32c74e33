"""The loop: draws a step, follows the gradient of the vectors alone, tells what happened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from . import schedules
from .adamw import AdamW
from .batches import Batch, BatchSource
from .dataset import Dataset
from .difficulty import Difficulties
from .events import Event, Finished, Previewed, Probed, Snapshotted, Stepped
from .objective import Objective
from .plateau import has_plateaued
from .probe import ProbeBank
from .protocols import Denoiser, TextContext, TextEncoder
from .recipe import Recipe
from .sentences import Sentences
from .sphere import SphereOptimizer

CPU_PROMPTS = 2
LOSS_READOUT_EVERY = 5
LONGEST_RUN_OF_BAD_STEPS = 20
NO_GRADIENT = (
    "No gradient reaches the vectors, so nothing could be learnt; start ComfyUI without attention "
    "that can't be trained through (such as SageAttention) and remove model patches."
)


class TrainingError(RuntimeError):
    """The run can't go on; the message says why and what to change."""


class VectorOptimizer(Protocol):
    """What the loop needs of :class:`SphereOptimizer` and :class:`AdamW`."""

    def vectors(self) -> torch.Tensor: ...
    def averaged(self) -> torch.Tensor: ...
    def step(self, gradient: torch.Tensor, rate: float) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """A resumable run; iterate over :meth:`run` and it trains.

    Only the ``[n, d]`` vectors of ``initial`` are ever differentiated. Every draw comes from
    the run's own generators, so a seed decides the result. With the names of several concepts in
    ``words`` their vectors are learnt together, one concept's after another's in ``initial``.
    With ``good`` pictures the word is to explain those of ``dataset`` and not these.
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
    ) -> None:
        self.recipe = recipe
        self.encoder = encoder
        self.denoiser = denoiser
        self.dataset = dataset
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
        self.optimizers = {
            key: _optimizer(recipe, encoder, key, vectors) for key, vectors in initial.items()
        }
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
        self.bad_steps = torch.zeros((), dtype=torch.int64)
        self.loss_scale = torch.tensor(denoiser.loss_scale, device=denoiser.device)

    def run(self) -> Iterator[Event]:
        """Train to the end of the recipe or to the plateau, yielding what happens."""
        if not self.curve:
            yield from self._probe()
        reason = "steps"
        while self.steps_done < self.recipe.steps:
            yield self._step()
            last = self.steps_done == self.recipe.steps
            if last or self.steps_done % self.recipe.probe_every == 0:
                yield from self._probe()
                if not last and self._should_stop():
                    reason = "plateau"
                    break
            if self._preview_due():
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
            "curve": list(self.curve),
            "best_step": self.best_step,
            "best_loss": self.best_loss,
            "best": dict(self.best),
            "bad_steps": int(self.bad_steps),
            "loss_scale": float(self.loss_scale),
            "generator": self.generator.get_state(),
            "dataset": self.dataset.state_dict(),
            "good": {} if self.source.good is None else self.source.good.state_dict(),
            "difficulties": self.difficulties.state_dict(),
            "optimizers": {key: each.state_dict() for key, each in self.optimizers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict` of a trainer made with the same arguments."""
        self.steps_done = state["steps_done"]
        self.curve = list(state["curve"])
        self.best_step = state["best_step"]
        self.best_loss = state["best_loss"]
        self.best = dict(state["best"])
        self.bad_steps = torch.tensor(state["bad_steps"], device=self.bad_steps.device)
        self.loss_scale = torch.full_like(self.loss_scale, state["loss_scale"])
        self.generator.set_state(state["generator"])
        self.dataset.load_state_dict(state["dataset"])
        if self.source.good is not None:
            self.source.good.load_state_dict(state["good"])
        self.difficulties.load_state_dict(state["difficulties"])
        for key, each in self.optimizers.items():
            each.load_state_dict(state["optimizers"][key])

    def _step(self) -> Stepped:
        step = self.steps_done
        vectors = {
            key: each.vectors().detach().requires_grad_(True)
            for key, each in self.optimizers.items()
        }
        batch = self.source.draw(self.generator)
        text = self._encode(batch.prompts, vectors)
        each = self._losses(batch, text)
        loss = self._reduced(batch, each, vectors)
        if not loss.requires_grad:
            raise TrainingError(NO_GRADIENT)
        scale = self.loss_scale
        wanted = [*vectors.values(), text.context]
        scaled = torch.autograd.grad(scale * loss, wanted, allow_unused=True)
        *gradients, pulls = [each if each is None else each / scale for each in scaled]
        if pulls is not None:
            self._note(batch, each.detach(), pulls)
        if step == 0:
            _check_gradients(loss, gradients)
        self._update(loss, gradients, self.rate(step))
        self.steps_done = step + 1
        due = self.steps_done % LOSS_READOUT_EVERY == 0 or loss.device.type == "cpu"
        value = float(loss.detach()) if due else None
        if due and int(self.bad_steps) >= LONGEST_RUN_OF_BAD_STEPS:
            raise TrainingError(
                f"The loss has not been a number for {int(self.bad_steps)} steps in a row at step "
                f"{self.steps_done}; lower learning_rate or load the model in a higher precision."
            )
        return Stepped(self.steps_done, self.recipe.steps, value, self.rate(step))

    def _losses(self, batch: Batch, text: TextContext) -> torch.Tensor:
        """The loss of each picture of the batch ``[B]`` with a row of ``text`` each."""
        latents, sigmas = self._sent(batch.latents), self._sent(batch.sigmas)
        noisy = self.denoiser.add_noise(latents, self._sent(batch.noise), sigmas)
        frames = [each.frame for each in batch.pictures]
        denoised = self.denoiser.denoise(noisy, sigmas, text, frames)
        masks = None if batch.masks is None else self._sent(batch.masks)
        return self.objective.losses(denoised, latents, sigmas, masks)

    def _reduced(
        self, batch: Batch, each: torch.Tensor, vectors: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The loss of the step; with good pictures it needs the empty prompt's losses too."""
        if self.empty is None:
            return self.objective.reduce(each)
        with torch.no_grad():
            text = self.encoder.encode([self.empty], vectors)
            rows = torch.zeros(each.shape[0], dtype=torch.long, device=text.context.device)
            pooled = None if text.pooled is None else text.pooled[rows]
            empty = self._losses(batch, TextContext(text.context[rows], pooled))
        return self.objective.reduce(each, empty)

    def _note(self, batch: Batch, each: torch.Tensor, pulls: torch.Tensor) -> None:
        """Remember how hard each picture was, and where it pulled."""
        count = len(batch.pictures) if self.empty is None else len(batch.pictures) // 2
        sources = [picture.source for picture in batch.pictures[:count]]
        self.difficulties.add(sources, batch.timesteps[:count], each[:count], pulls[:count])

    def _sent(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the denoiser's device, without waiting for what the device is doing."""
        device = self.denoiser.device
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor.to(device)

    def _encode(self, drawn: Sequence[str], vectors: Mapping[str, torch.Tensor]) -> TextContext:
        """One context per prompt; every different prompt is encoded once, in one batch."""
        unique = list(dict.fromkeys(drawn))
        text = self.encoder.encode([self.sentences.tokens(prompt) for prompt in unique], vectors)
        if len(unique) == len(drawn):
            return text
        rows = torch.tensor([unique.index(prompt) for prompt in drawn], device=text.context.device)
        return TextContext(text.context[rows], None if text.pooled is None else text.pooled[rows])

    def _update(
        self, loss: torch.Tensor, gradients: Sequence[torch.Tensor | None], rate: float
    ) -> None:
        """Step every encoder's vectors; a gradient that is no number moves nothing.

        It may have been raised too high on its way, so the loss scale is then halved.
        """
        present = [each for each in gradients if each is not None]
        finite = torch.stack([torch.isfinite(each).all() for each in present]).all()
        finite = finite & torch.isfinite(loss.detach())
        self.bad_steps = torch.where(finite, 0, self.bad_steps.to(finite.device) + 1)
        lowered = (0.5 * self.loss_scale).clamp_min(1.0)
        self.loss_scale = torch.where(finite, self.loss_scale, lowered)
        for each, gradient in zip(self.optimizers.values(), gradients, strict=True):
            if gradient is not None:
                each.step(torch.where(finite, gradient, torch.zeros_like(gradient)), rate)

    def _probe(self) -> Iterator[Event]:
        averaged = self._averaged()
        loss = self.bank.measure(self.encoder, self.denoiser, averaged)
        self.curve.append((self.steps_done, loss))
        if not math.isfinite(loss):
            raise TrainingError(
                f"The probe bank's loss at step {self.steps_done} is not a number; check the "
                "pictures and load the model in a higher precision."
            )
        improved = loss < self.best_loss
        if improved:
            self.best_loss, self.best_step = loss, self.steps_done
            self.best = self._detached(averaged)
        yield Probed(self.steps_done, loss, self.curve[0][1], self.best_loss)
        if improved and self.steps_done:
            yield Snapshotted(self.steps_done, loss, self.best)

    def _averaged(self) -> dict[str, torch.Tensor]:
        return {key: each.averaged() for key, each in self.optimizers.items()}

    def _should_stop(self) -> bool:
        return (
            self.recipe.early_stop
            and self.steps_done >= self.recipe.early_stop_after
            and has_plateaued([loss for _, loss in self.curve])
        )

    def _preview_due(self) -> bool:
        every = self.recipe.preview_every
        return bool(every) and self.steps_done % every == 0 and self.steps_done < self.recipe.steps

    @staticmethod
    def _detached(vectors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {
            key: each.detach().to("cpu", torch.float32, copy=True) for key, each in vectors.items()
        }


def _optimizer(
    recipe: Recipe, encoder: TextEncoder, key: str, vectors: torch.Tensor
) -> VectorOptimizer:
    horizon = recipe.averaging * recipe.steps / 2
    decay = max(0.0, 1.0 - 1.0 / horizon) if horizon > 1 else 0.0
    if recipe.optimizer == "adamw":
        return AdamW(vectors, weight_decay=recipe.weight_decay, averaging_decay=decay)
    return SphereOptimizer(
        vectors,
        encoder.vocabulary_norm(key),
        momentum=recipe.momentum,
        gradient_averaging=recipe.gradient_averaging,
        prior=recipe.prior,
        averaging_decay=decay,
    )


def _prompts_per_step(recipe: Recipe, denoiser: Denoiser) -> int:
    if recipe.prompts_per_step:
        return recipe.prompts_per_step
    return CPU_PROMPTS if denoiser.device.type == "cpu" else recipe.batch_size


def _check_gradients(loss: torch.Tensor, gradients: Sequence[torch.Tensor | None]) -> None:
    reached = any(each is not None and bool((each != 0).any()) for each in gradients)
    if not reached and bool(torch.isfinite(loss.detach())):
        raise TrainingError(NO_GRADIENT)
