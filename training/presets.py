"""Named sets of knobs, and the slider between an editable and a faithful word."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from .recipe import Recipe, RecipeError, default

AS_PUBLISHED: dict[str, Any] = {
    "optimizer": "adamw",
    "warmup_steps": 0,
    "prior": 0.0,
    "averaging": 0.0,
    "equal_pulls": False,
    "timestep_density": "uniform",
    "timestep_from": 0.0,
    "timestep_to": 1.0,
    "early_stop": False,
    "keep": "last",
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """What a preset is for, and the knobs it sets."""

    prose: str
    knobs: Mapping[str, Any]


PRESETS: dict[str, Preset] = {
    "auto": Preset("the defaults, which suit most pictures", {}),
    "subject": Preset("a thing or an animal", {"kind": "subject"}),
    "likeness": Preset(
        "a person or a thing that must be recognised: more vectors, more steps",
        {"kind": "person", "num_vectors": 4, "steps": 600},
    ),
    "style": Preset(
        "a manner of drawing: two vectors, lower timesteps too, where texture is decided",
        {"kind": "style", "num_vectors": 2, "timestep_density": "uniform"},
    ),
    "negative": Preset(
        "bad pictures, for negative prompts",
        {"kind": "negative", "num_vectors": 4},
    ),
    "draft": Preset(
        "a first look in less than half of the time",
        {"steps": 50, "early_stop_after": 50, "preview_every": 0},
    ),
    "as diffusers": Preset(
        "the README of the diffusers script: AdamW at 0.002, 3000 steps of 4, the last vector",
        AS_PUBLISHED
        | {
            "learning_rate_schedule": "2e-3",
            "steps": 3000,
            "batch_size": 4,
            "weight_decay": 0.01,
            "flip": "on",
        },
    ),
    "as A1111": Preset(
        "the web UI's defaults: AdamW at 0.005, one picture a step; it names no number of steps "
        "that ends in a day, so 3000",
        AS_PUBLISHED
        | {
            "learning_rate_schedule": "5e-3",
            "steps": 3000,
            "batch_size": 1,
            "probe_every": 40,
        },
    ),
    "as the paper": Preset(
        "Gal et al. 2022: AdamW at 0.04 (0.005 times 8 pictures), 5000 steps, mirrored pictures",
        AS_PUBLISHED
        | {
            "learning_rate_schedule": "0.04",
            "steps": 5000,
            "batch_size": 8,
            "weight_decay": 0.01,
            "flip": "on",
        },
    ),
}

PRESET_PROSE = (
    "Fills in every setting that you leave at its default; what you change yourself counts. "
    + "; ".join(f"{name}: {preset.prose}" for name, preset in PRESETS.items())
    + "."
)
FIDELITY_PROSE = (
    "-1 keeps the word near known words, so that it follows the rest of a prompt; 1 follows the "
    "pictures more closely, with more steps and vectors; 0 is the preset as it is."
)

LOWEST_STEPS, HIGHEST_STEPS = 0.5, 1.5
LOWEST_RATE = 0.6
EDITABLE_PRIOR = 0.02
FAITHFUL_VECTORS = 3


def filled_in(preset: str, fidelity: float, given: Mapping[str, Any]) -> Recipe:
    """The recipe of a preset, moved along the slider, with what a person changed on top.

    A knob of ``given`` counts where it differs from the default. Raises RecipeError.
    """
    if preset not in PRESETS:
        raise RecipeError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}.")
    if not -1.0 <= fidelity <= 1.0:
        raise RecipeError(f"fidelity is {fidelity:g}; it must lie between -1 and 1.")
    base = Recipe().changed(**PRESETS[preset].knobs)
    moved = moved_to(base, fidelity)
    changed = {name: value for name, value in given.items() if value != default(name)}
    return moved.changed(**changed)


def moved_to(recipe: Recipe, fidelity: float) -> Recipe:
    """The recipe moved along the slider; only the sphere optimizer has one."""
    if fidelity == 0 or recipe.optimizer != "sphere":
        return recipe
    steps = _between(LOWEST_STEPS, HIGHEST_STEPS, fidelity)
    rate = _between(LOWEST_RATE, 1.0, fidelity)
    vectors = recipe.num_vectors
    if fidelity > 0:
        vectors += round(FAITHFUL_VECTORS * fidelity)
    else:
        vectors = max(1, round(vectors * (1 + 0.5 * fidelity)))
    return recipe.changed(
        steps=max(1, round(recipe.steps * steps)),
        early_stop_after=max(1, round(recipe.early_stop_after * steps)),
        learning_rate=recipe.learning_rate * rate,
        num_vectors=min(75, vectors),
        prior=max(recipe.prior, -fidelity * EDITABLE_PRIOR),
    )


def summary(recipe: Recipe, given: Mapping[str, Any]) -> str | None:
    """'num_vectors 4, steps 600': what a preset set beyond ``given``; None if nothing."""
    start = Recipe().changed(**given)
    changed = [
        f"{name} {value}"
        for name, value in recipe.as_dict().items()
        if value != getattr(start, name)
    ]
    return ", ".join(changed) or None


def _between(lowest: float, highest: float, fidelity: float) -> float:
    """1 at 0, ``lowest`` at -1, ``highest`` at 1, straight in between."""
    return 1 + fidelity * ((highest - 1) if fidelity > 0 else (1 - lowest))
