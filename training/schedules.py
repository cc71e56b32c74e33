"""Learning rates by step: warm-up with a cosine, or the written form '5e-3:100, 1e-3'."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .recipe import Recipe

RateSchedule = Callable[[int], float]


def of_recipe(recipe: Recipe) -> RateSchedule:
    """The rate of every step of a recipe."""
    if recipe.learning_rate_schedule.strip():
        return written(recipe.learning_rate_schedule, recipe.warmup_steps)
    return warmup_cosine(recipe.learning_rate, recipe.steps, recipe.warmup_steps, recipe.final_rate)


def warmup_cosine(peak: float, steps: int, warmup: int, final: float) -> RateSchedule:
    """The rate of step 0..steps-1: a linear rise over ``warmup`` steps, then half a cosine.

    ``final`` is the last step's rate as a share of ``peak``.
    """

    def rate(step: int) -> float:
        if step < warmup:
            return peak * (step + 1) / (warmup + 1)
        progress = (step - warmup) / max(1, steps - 1 - warmup)
        wave = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return peak * (final + (1.0 - final) * wave)

    return rate


def parse_schedule(text: str) -> list[tuple[float, int | None]]:
    """``'5e-3:100, 1e-3:1000, 5e-4'`` -> ``[(5e-3, 100), (1e-3, 1000), (5e-4, None)]``.

    Each rate holds until the step after its colon; the last may go on for ever, written without
    a step or with -1 as A1111 allows. Raises ValueError with one sentence where the text can't be
    read.
    """
    stages: list[tuple[float, int | None]] = []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    for index, part in enumerate(parts):
        rate_text, colon, until_text = part.partition(":")
        try:
            rate = float(rate_text)
            until = int(until_text) if colon else None
        except ValueError:
            raise ValueError(f"can't read {part!r}; write rates as in '5e-3:100, 1e-3'.") from None
        if not math.isfinite(rate) or rate < 0:
            raise ValueError(f"the rate in {part!r} must be zero or more.")
        until = None if until == -1 else until
        if until is None and index < len(parts) - 1:
            raise ValueError(f"{part!r} needs a step after a colon; only the last rate may go on.")
        previous = stages[-1][1] if stages else 0
        if until is not None and previous is not None and until <= previous:
            raise ValueError(f"the step in {part!r} must be above {previous}.")
        stages.append((rate, until))
    if not stages:
        raise ValueError("no rate given; write rates as in '5e-3:100, 1e-3'.")
    return stages


def written(text: str, warmup: int = 0) -> RateSchedule:
    """The schedule that ``text`` writes out, after a linear warm-up; the last rate goes on."""
    stages = parse_schedule(text)

    def rate(step: int) -> float:
        current = next(
            (value for value, until in stages if until is None or step < until), stages[-1][0]
        )
        return current * min(1.0, (step + 1) / (warmup + 1))

    return rate
