"""What each recipe has learnt after how many pictures and seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass

from microworld import concepts
from microworld.learning import Learner

from .recipes import RECIPES


@dataclass(frozen=True)
class Measurement:
    """One moment of one run."""

    recipe: str
    concept: str
    seed: int
    step: int
    pictures_seen: int
    seconds: float
    reconstruction: float
    editability: float
    joint: float
    norm: float


def measure(
    learner: Learner, recipe: str, concept: concepts.Concept, seed: int, pictures: int, marks: int
) -> list[Measurement]:
    """One run over about ``pictures`` pictures, measured ``marks`` times after its start."""
    changes = dict(RECIPES[recipe])
    batch = changes.setdefault("batch_size", 4)
    steps = max(marks, pictures // batch)
    measurements = []
    trained, resumed = 0.0, time.perf_counter()
    for moment in learner.run(concept, steps // marks, steps=steps, seed=seed, **changes):
        trained += time.perf_counter() - resumed
        editability, joint = learner.edits(concept, moment.vectors)
        measurements.append(
            Measurement(
                recipe=recipe,
                concept=concept.name,
                seed=seed,
                step=moment.step,
                pictures_seen=moment.step * batch,
                seconds=round(trained, 2),
                reconstruction=round(learner.reconstruction(concept, moment.vectors), 3),
                editability=round(editability, 3),
                joint=round(joint, 3),
                norm=round(float(moment.vectors.norm(dim=-1).mean()), 3),
            )
        )
        resumed = time.perf_counter()
    return measurements


def table(measurements: list[Measurement]) -> str:
    """Means over concepts and seeds in Markdown, a line for each recipe and moment."""
    lines = [
        "| recipe | pictures | seconds | reconstruction | editability | joint | norm |",
        "|---|---|---|---|---|---|---|",
    ]
    for recipe in dict.fromkeys(m.recipe for m in measurements):
        of_recipe = [m for m in measurements if m.recipe == recipe]
        for seen in sorted({m.pictures_seen for m in of_recipe}):
            here = [m for m in of_recipe if m.pictures_seen == seen]

            def mean(name: str, rows: list[Measurement] = here) -> float:
                return sum(getattr(m, name) for m in rows) / len(rows)

            lines.append(
                f"| {recipe} | {seen} | {mean('seconds'):.1f} | {mean('reconstruction'):.3f} "
                f"| {mean('editability'):.3f} | {mean('joint'):.3f} | {mean('norm'):.2f} |"
            )
    return "\n".join(lines)
