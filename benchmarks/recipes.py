"""The recipes that race: ours, and published ones carried out by the same engine.

Only what a recipe decides is changed: optimiser, rate, batch, timesteps, averaging, flips. The
engine's own draw of different pictures and of timesteps from equal shares stays, to the good of
the published recipes, which draw each on its own; so do at most four different sentences a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

OURS = "auto"
ADAMW_RATES = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)
MOST_SENTENCES = 4
SPHERE_RATES = (0.01, 0.02, 0.04, 0.08, 0.16)

_UNWATCHED: dict[str, Any] = {"probe_every": 10_000, "probe_size": 1}


@dataclass(frozen=True)
class Contestant:
    """A recipe: what it changes, its published rate (None: ours), and the rates tried for it.

    ``longest`` ends its runs at the published rate after so many pictures, where that rate is
    so low that the word stays what it was.
    """

    title: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    rate: float | None = None
    rates: tuple[float, ...] = ()
    encodes_every_step: bool = False
    longest: int | None = None

    @property
    def batch(self) -> int:
        """Pictures a step."""
        from textual_inversion.training.recipe import default

        return int(self.changes.get("batch_size", default("batch_size")))

    def at(self, rate: float | None, pictures: int) -> dict[str, Any]:
        """The knobs for a run over ``pictures`` pictures at a rate; ours ends by itself."""
        if self.rate is None:
            return dict(self.changes)
        from textual_inversion.training.presets import AS_PUBLISHED

        chosen = self.rate if rate is None else rate
        return {
            **AS_PUBLISHED,
            **_UNWATCHED,
            "prompts_per_step": min(self.batch, MOST_SENTENCES),
            **self.changes,
            "learning_rate_schedule": f"{chosen:g}",
            "steps": max(1, pictures // self.batch),
        }


def _adamw(title: str, rate: float, batch: int, *, decay: float = 0.01, **more: Any) -> Contestant:
    encodes, longest = bool(more.pop("encodes", False)), more.pop("longest", None)
    changes = {"batch_size": batch, "weight_decay": decay, **more}
    return Contestant(title, changes, rate, ADAMW_RATES, encodes, longest)


# kohya's rate moves a vector by a ten-thousandth of its length in 192 pictures. In 768 pictures at
# diffusers' default rate no score of a word changed in its third decimal.
CONTESTANTS: dict[str, Contestant] = {
    OURS: Contestant("Textual Inversion, auto"),
    "paper": _adamw("the paper (Gal et al. 2022)", 0.04, 8, flip="on", encodes=True),
    "diffusers-readme": _adamw("diffusers, README", 2e-3, 4, flip="on", encodes=True),
    "diffusers-defaults": _adamw(
        "diffusers, defaults", 1e-4, 16, flip="on", encodes=True, longest=192
    ),
    "a1111": _adamw("A1111", 5e-3, 1, decay=0.0),
    "kohya": _adamw("kohya, documentation", 1e-6, 1, longest=192),
    "dti": Contestant(
        "Directional TI",
        {"optimizer": "sphere", "batch_size": 4, "momentum": 0.0, "gradient_averaging": 0.0},
        0.01,
        SPHERE_RATES,
    ),
}

PRESETS: dict[str, Contestant] = {
    "draft": Contestant("preset draft"),
    "editable": Contestant("fidelity -1"),
    "faithful": Contestant("fidelity 1"),
}
"""Of the pack's presets, for how they differ from auto; :func:`knobs_of` fills them in."""

AS_LONG_AS_OTHERS = "steps-96"
"""Ours over the 576 pictures that the raced recipes see; by itself it ends later."""

VARIANTS: dict[str, dict[str, Any]] = {
    AS_LONG_AS_OTHERS: {"steps": 96},
    "rate-0.20": {"learning_rate": 0.2},
    "rate-0.30": {"learning_rate": 0.3},
    "rate-0.50": {"learning_rate": 0.5},
    "momentum-0": {"momentum": 0.0},
    "momentum-0.7": {"momentum": 0.7},
    "high-noise": {"timestep_from": 0.3},
    "as-they-pull": {"equal_pulls": False},
    "two-sentences": {"learning_rate": 0.3, "prompts_per_step": 2},
    "batch-4": {"learning_rate": 0.2, "batch_size": 4},
    "batch-8": {"batch_size": 8},
    "batch-12": {"batch_size": 12},
}
"""Changes of our own recipe, tried on the development concepts."""


def knobs_of(name: str, rate: float | None, pictures: int) -> dict[str, Any]:
    """What a run of a contestant or preset changes in the default recipe."""
    if name in CONTESTANTS:
        return CONTESTANTS[name].at(rate, pictures)
    if name in VARIANTS:
        return VARIANTS[name]
    from textual_inversion.training.presets import filled_in

    preset, fidelity = {"editable": ("auto", -1.0), "faithful": ("auto", 1.0)}.get(name, (name, 0))
    found = filled_in(preset, fidelity, {"preview_every": 100}).as_dict()
    drawn = {"kind", "seed", "preview_every"}
    return {knob: found[knob] for knob in found if knob not in drawn}


def probe_share() -> float:
    """The share of a run of our own recipe that goes into its probe bank."""
    from textual_inversion.training.recipe import Recipe

    return Recipe().probe_share
