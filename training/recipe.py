"""The recipe: every knob of a training run, with its unit, range, default and reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .knobs import Knob, RecipeError, check, knob
from .learning_knobs import LearningKnobs
from .schedules import parse_schedule

__all__ = ["Knob", "Recipe", "RecipeError", "default", "knobs"]

BACKWARD_COST = 1.08


@dataclasses.dataclass(frozen=True)
class Recipe(LearningKnobs):
    """Every knob of a run; raises RecipeError at once for a value out of its range."""

    preview_prompts: str = knob(
        "",
        "What the preview pictures show, a prompt a line, at most four, with {} for the word; the "
        "initializer text's picture at the same seed is beside each. Empty: a photo of the word.",
        group="previews",
    )
    encoders: str = knob(
        "all",
        "Which text encoders learn the word, for models with two (SDXL): both, or one while the "
        "other keeps the initializer text's vectors. The file holds vectors for both either way.",
        group="run",
        choices=("all", "clip_l", "clip_g"),
    )
    snapshot_every: int = knob(
        0,
        "Steps between two snapshots, a few KB each, kept as NAME-snapshots/step-... beside the "
        "embedding; 0 keeps none.",
        group="run",
        minimum=0,
        maximum=100_000,
    )
    resume: bool = knob(
        True,
        "Go on where a run of the same name, pictures and settings was interrupted by a crash or "
        "Cancel; the result is the same as without the interruption.",
        group="run",
    )
    save_memory: bool = knob(
        False,
        "Keep less for the backward pass and compute it twice instead. It happens by itself when "
        "memory runs out; the result is the same but for rounding.",
        group="run",
    )
    compile: bool = knob(
        False,
        "Compile the network with torch.compile: a minute or more at the start for faster steps on "
        "a GPU. Where it can't be compiled the run goes on as usual and says so.",
        group="run",
    )
    equal_pulls: bool = knob(
        True,
        "Every picture of a step pulls the word alike. Off, each pulls as hard as its error at its "
        "noise level happens to be large, as in other trainers.",
        group="optimizer",
    )

    def __post_init__(self) -> None:
        for name, limits in knobs().items():
            check(name, getattr(self, name), default(name), limits)
        if self.timestep_from >= self.timestep_to:
            raise RecipeError(
                f"timestep_from ({self.timestep_from:g}) must be below timestep_to "
                f"({self.timestep_to:g})."
            )
        if self.optimizer == "adamw" and self.learning_rate > 0.5:
            raise RecipeError(
                f"learning_rate {self.learning_rate:g} is far too high for adamw; "
                "use 0.0003 to 0.005."
            )
        if self.learning_rate_schedule.strip():
            try:
                parse_schedule(self.learning_rate_schedule)
            except ValueError as error:
                raise RecipeError(f"learning_rate_schedule: {error}") from error

    @property
    def probe_share(self) -> float:
        """The share of the run's compute that goes into the probe bank.

        A probe is a pass forward; of a picture learnt from, the pass back to the text costs
        as much again and a little more (1.08 times in a UNet of SD 1.5's shape at 512 pixels).
        """
        learning = self.probe_every * self.batch_size * (1 + BACKWARD_COST)
        return self.probe_size / (self.probe_size + learning)

    def changed(self, **values: Any) -> Recipe:
        """A copy with these knobs set; an unknown name is an error that lists the known ones."""
        unknown = sorted(set(values) - set(knobs()))
        if unknown:
            raise RecipeError(f"No knob named {unknown[0]!r}; the knobs are {', '.join(knobs())}.")
        return dataclasses.replace(self, **values)

    def as_dict(self) -> dict[str, Any]:
        """The knobs as plain values, in the order they are declared."""
        return dataclasses.asdict(self)


def knobs() -> Mapping[str, Knob]:
    """Every knob by name, in the order they are declared."""
    return {field.name: field.metadata["knob"] for field in dataclasses.fields(Recipe)}


def default(name: str) -> Any:
    """The default of one knob."""
    return {field.name: field.default for field in dataclasses.fields(Recipe)}[name]
