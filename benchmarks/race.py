"""The race of recipes: how many pictures each must see until its word is nearly the oracle's.

Scored is H, the harmonic mean of reconstruction and editability (`scores.py`); T90 is the number
of pictures seen when H reaches 90 % of that of the words that say the concept.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from microworld import concepts
from microworld.learning import Learner

from . import race_cells
from .race_cells import Cell, Group, Store, groups_of
from .recipes import AS_LONG_AS_OTHERS, CONTESTANTS, OURS, PRESETS, VARIANTS

log = logging.getLogger(__name__)
RACED = tuple(concepts.names("composite", "known", "amputated", "entangled"))
STYLES = tuple(concepts.names("style"))
DEVELOPMENT = tuple(concepts.names("development"))


@dataclass(frozen=True)
class Plan:
    """How much is run; ``marks`` are numbers of pictures seen after which words are scored."""

    recipes: tuple[str, ...] = tuple(CONTESTANTS)
    presets: tuple[str, ...] = ()
    concepts: tuple[str, ...] = RACED
    development: tuple[str, ...] = DEVELOPMENT
    seeds: tuple[int, ...] = (0, 1, 2)
    marks: tuple[int, ...] = (48, 96, 192, 384, 576)
    tuning_marks: tuple[int, ...] = (192, 384)
    tuned: bool = True
    variants: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()


OF_PRESETS = Plan(
    recipes=(OURS,),
    presets=tuple(PRESETS),
    variants=(AS_LONG_AS_OTHERS,),
    tuned=False,
    styles=STYLES,
)
DEVELOP = Plan(
    recipes=(OURS,),
    variants=tuple(VARIANTS),
    concepts=tuple(concepts.names("development", "trial")),
    seeds=(0,),
    tuned=False,
)
QUICK = Plan(
    recipes=(OURS, "diffusers-readme", "dti"),
    concepts=("red-star", "pink-triangle", "purple"),
    seeds=(0,),
    marks=(96, 192, 384),
    tuned=False,
)


@dataclass
class Results:
    """What has been run of a plan."""

    plan: Plan
    oracle: dict[str, float]
    start: dict[str, float]
    tuned: dict[str, float]
    runs: dict[tuple[str, float | None], list[Cell]]
    styles: dict[str, list[Cell]]
    unfinished: int = 0


def run(
    comfyui: Path, checkpoint: Path, store: Store, plan: Plan, *, workers: int, minutes: float
) -> Results:
    """Run what ``store`` lacks of the plan, for at most so many minutes, and gather it all."""
    deadline = time.monotonic() + 60 * minutes
    environment = dict(os.environ)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        with ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_prepare, initargs=(comfyui, checkpoint)
        ) as pool:
            named = sorted({*plan.concepts, *(plan.development if plan.tuned else ())})
            _finish(pool, store, [named[at::workers] for at in range(workers)], deadline)
            if plan.tuned:
                _finish(pool, store, _tuning(plan), deadline)
            _finish(pool, store, _racing(plan, tuned_rates(store, plan)), deadline)
    finally:
        os.environ.clear()
        os.environ |= environment
    return gathered(store, plan)


_learner: Learner | None = None


def _prepare(comfyui: Path, checkpoint: Path) -> None:
    global _learner
    torch.set_num_threads(1)
    _learner = Learner(comfyui, checkpoint)


def _work(store: Store, job: Group | list[str], deadline: float) -> str:
    if time.monotonic() > deadline or _learner is None:
        return ""
    if isinstance(job, list):
        for name in job:
            store.reference(_learner, "oracle", name)
            store.reference(_learner, "start", name)
        return "references"
    race_cells.make(_learner, store, job)
    return f"{job.recipe}, rate {job.rate or 'its own'}, seed {job.seed}"


def _finish(
    pool: ProcessPoolExecutor, store: Store, jobs: Sequence[Group | list[str]], deadline: float
) -> None:
    open_jobs = [job for job in jobs if isinstance(job, list) or store.missing(job)]
    futures = [pool.submit(_work, store, job, deadline) for job in open_jobs]
    for number, future in enumerate(as_completed(futures), 1):
        log.info("%d of %d: %s", number, len(futures), future.result() or "no time left")


def _tuning(plan: Plan) -> list[Group]:
    return [
        group
        for name in plan.recipes
        for rate in CONTESTANTS[name].rates
        for group in groups_of(name, rate, (0,), plan.development, plan.tuning_marks)
    ]


def _racing(plan: Plan, tuned: dict[str, float]) -> list[Group]:
    """Seed by seed, so that a race cut short has raced everybody."""
    entries = [(name, CONTESTANTS[name].rate) for name in plan.recipes]
    entries += [(name, None) for name in plan.variants]
    entries += [(name, rate) for name, rate in tuned.items() if (name, rate) not in entries]
    racing = [
        group
        for seed in plan.seeds
        for name, rate in entries
        for group in groups_of(name, rate, (seed,), plan.concepts, _marks(plan, name, rate))
    ]
    last = (plan.marks[-1],)
    for name in plan.presets:
        racing += groups_of(name, None, plan.seeds[:1], plan.concepts, last)
    if plan.styles:
        for name in (OURS, "style"):
            racing += groups_of(name, None, plan.seeds, plan.styles, last)
    return racing


def _marks(plan: Plan, name: str, rate: float | None) -> list[int]:
    contestant = CONTESTANTS.get(name)
    longest = contestant.longest if contestant and rate == contestant.rate else None
    return [mark for mark in plan.marks if longest is None or mark <= longest]


def tuned_rates(store: Store, plan: Plan) -> dict[str, float]:
    """For each published recipe the rate of the best mean H over the marks, in development."""
    found: dict[str, float] = {}
    if not plan.tuned:
        return found
    for name in plan.recipes:
        means: dict[float, float] = {}
        for rate in CONTESTANTS[name].rates:
            group = groups_of(name, rate, (0,), plan.development, plan.tuning_marks)[0]
            cells = store.cells(group)
            if cells and not store.missing(group):
                scores = [cell.at(mark).harmonic for cell in cells for mark in group.marks]
                means[rate] = sum(scores) / len(scores)
        if means:
            found[name] = max(means, key=lambda rate: means[rate])
    return found


def gathered(store: Store, plan: Plan) -> Results:
    """All finished runs of a plan."""
    tuned = tuned_rates(store, plan)
    results = Results(plan, _references(store, plan, "oracle"), {}, tuned, {}, {})
    results.start = _references(store, plan, "start")
    for group in _racing(plan, tuned):
        if group.concepts == plan.styles:
            results.styles.setdefault(group.recipe, []).extend(store.cells(group))
        else:
            results.runs.setdefault((group.recipe, group.rate), []).extend(store.cells(group))
        results.unfinished += len(store.missing(group))
    return results


def _references(store: Store, plan: Plan, kind: str) -> dict[str, float]:
    known = ((name, store.reference(None, kind, name)) for name in plan.concepts)
    return {name: score.harmonic for name, score in known if score is not None}


def usable_cores() -> int:
    """One-thread workers that this machine feeds, at most four."""
    if hasattr(os, "sched_getaffinity"):
        return min(4, len(os.sched_getaffinity(0)))
    return min(4, os.cpu_count() or 1)
