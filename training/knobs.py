"""A knob: one setting of a run with its unit, range, default and reason."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


class RecipeError(ValueError):
    """A knob holds a value no run could use; the message names the knob and the remedy."""


@dataclasses.dataclass(frozen=True)
class Knob:
    """What a person should know about one field of a recipe."""

    prose: str
    group: str = "basic"
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str, ...] = ()


def knob(default: Any, prose: str, **limits: Any) -> Any:
    """A dataclass field that carries a :class:`Knob`."""
    return dataclasses.field(default=default, metadata={"knob": Knob(prose, **limits)})


def check(name: str, value: Any, default: Any, knob: Knob) -> None:
    """Raise RecipeError unless ``value`` is one this knob can take."""
    if knob.choices:
        if value not in knob.choices:
            raise RecipeError(f"{name} is {value!r}; choose one of {', '.join(knob.choices)}.")
        return
    expected = type(default)
    if expected is float and type(value) is int:
        return check(name, float(value), default, knob)
    if type(value) is not expected:
        raise RecipeError(f"{name} must be a {expected.__name__}, got {value!r}.")
    if knob.minimum is None or knob.maximum is None:
        return
    if not math.isfinite(value) or not knob.minimum <= value <= knob.maximum:
        raise RecipeError(
            f"{name} is {value:g}; it must lie between {knob.minimum:g} and {knob.maximum:g}."
        )
