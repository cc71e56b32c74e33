"""One sentence for each setting that can't learn, must blow up the norm, or wastes the pictures.

An AdamW step moves each of d numbers by about the rate, so a vector of norm m turns by about
rate sqrt(d) / m radians. Where gradients are mostly noise, T steps add up like a random walk, to
rate sqrt(d T).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .recipe import Recipe
from .schedules import of_recipe

LEAST_TURN = 0.25
MOST_INFLATION = 2.0
HOT_TURN = 0.5
MANY_PICTURES = 30
MANY_VECTORS = 16
MOST_PROBING = 0.15


def lint(
    recipe: Recipe, *, norm: float, width: int, pictures: int, captions: Sequence[str | None] = ()
) -> list[str]:
    """Warnings about a recipe for vectors of ``width`` numbers at a vocabulary norm ``norm``."""
    return [
        *_rates(recipe, norm, width),
        *_data(recipe, pictures, captions),
    ]


def _rates(recipe: Recipe, norm: float, width: int) -> list[str]:
    schedule = of_recipe(recipe)
    rates = [schedule(step) for step in range(recipe.steps)]
    free = recipe.optimizer == "adamw"
    turn = math.sqrt(width) / norm if free else 1.0
    far = turn * sum(rates)
    found = []
    if far < LEAST_TURN:
        found.append(
            f"These rates can't learn: {recipe.steps} steps that all went the same way would turn "
            f"a vector by {far:.2g} radians; raise learning_rate or steps."
        )
    if not free:
        if max(rates) > HOT_TURN:
            found.append(
                f"A learning rate of {max(rates):g} radians jumps over what it looks for; 0.05 to "
                "0.5 is usual."
            )
        return found
    walk = math.sqrt(width * sum(rate * rate for rate in rates)) / norm
    if walk > MOST_INFLATION:
        hottest = max(rates)
        found.append(
            f"These rates must blow up the norm: AdamW at up to {hottest:g} over {recipe.steps} "
            f"steps walks about {walk:.0f} times the length of a word's vector, which drowns the "
            "rest of a prompt; use optimizer sphere or rates near 0.0003."
        )
    return found


def _data(recipe: Recipe, pictures: int, captions: Sequence[str | None]) -> list[str]:
    found = []
    if pictures > MANY_PICTURES and recipe.kind in ("subject", "person"):
        found.append(
            f"{pictures} pictures are more than one word can hold; 3 to 10 good ones learn faster "
            "and edit better."
        )
    if recipe.num_vectors > MANY_VECTORS:
        found.append(
            f"{recipe.num_vectors} vectors fill much of the 75 places of a prompt; 1 to 8 are "
            "enough for nearly everything."
        )
    tagged = recipe.tag_shuffle or recipe.tag_dropout > 0
    if tagged and not any(caption and "," in caption for caption in captions):
        found.append("tag_shuffle and tag_dropout do nothing without captions of several tags.")
    if recipe.probe_share > MOST_PROBING:
        found.append(
            f"The probe bank takes {recipe.probe_share:.0%} of the time; a larger probe_every or "
            "batch_size, or a smaller probe_size, leaves more for learning."
        )
    if recipe.optimizer == "sphere" and recipe.weight_decay:
        found.append("weight_decay does nothing with optimizer sphere, whose norm is fixed.")
    return found
