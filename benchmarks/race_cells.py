"""The race's runs, a file for each, so that an interrupted race goes on where it was."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from microworld import archive, concepts
from microworld.learning import Learner

from . import lockstep, scores
from .recipes import CONTESTANTS, knobs_of

DECISIVE = (
    "adamw",
    "batches",
    "dataset",
    "gradients",
    "initial",
    "objective",
    "plateau",
    "probe",
    "pulls",
    "schedules",
    "sphere",
    "templates",
    "timesteps",
    "trainer",
)


@dataclass(frozen=True)
class Group:
    """Runs made side by side: one recipe and rate (None: its own), one seed, some concepts."""

    recipe: str
    rate: float | None
    seed: int
    concepts: tuple[str, ...]
    marks: tuple[int, ...]


@dataclass(frozen=True)
class Cell:
    """One finished run. ``scores`` by pictures seen, and ``kept`` that of what it saved."""

    recipe: str
    rate: float | None
    seed: int
    concept: str
    scores: Mapping[str, Mapping[str, float]]
    kept: Mapping[str, float]
    pictures_seen: int
    norm: float

    def at(self, pictures: int) -> scores.Score:
        """The score after so many pictures; a run that had ended by then kept what it saved."""
        return scores.Score(**self.scores.get(str(pictures), self.kept))

    @property
    def marks(self) -> list[int]:
        """The numbers of pictures after which it was scored."""
        return sorted(int(mark) for mark in self.scores)

    @property
    def end(self) -> scores.Score:
        """The score of the embedding that the run saved."""
        return scores.Score(**self.kept)


class Store:
    """Finished runs and references in a folder; those of other weights or knobs are not seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self, group: Group) -> list[str]:
        """The concepts of a group whose runs are not there."""
        return [name for name in group.concepts if not self._place(group, name).exists()]

    def cells(self, group: Group) -> list[Cell]:
        """The finished runs of a group."""
        places = [self._place(group, name) for name in group.concepts]
        return [Cell(**json.loads(place.read_text())) for place in places if place.exists()]

    def keep(self, group: Group, cell: Cell) -> None:
        """Write a run's file, whole or not at all."""
        _write(self._place(group, cell.concept), asdict(cell))

    def reference(self, learner: Learner | None, kind: str, concept: str) -> scores.Score | None:
        """The score of the ``oracle`` or ``start`` words; measured where a learner is given."""
        digest = _digest(kind, concept, scores.SAMPLING_STEPS)
        place = self.folder / f"{kind}_{concept}_{digest}.json"
        if place.exists():
            return scores.Score(**json.loads(place.read_text()))
        if learner is None:
            return None
        word = {"oracle": scores.oracle_word, "start": scores.initial_word}[kind]
        found = scores.score(learner, [word(concepts.concept(concept))])[0]
        _write(place, asdict(found))
        return found

    def _place(self, group: Group, concept: str) -> Path:
        knobs = _filled_in(knobs_of(group.recipe, group.rate, group.marks[-1]))
        digest = _digest(group.recipe, knobs, group.marks, scores.SAMPLING_STEPS)
        rate = "own" if group.rate is None else f"{group.rate:g}"
        name = f"{group.recipe}_{rate}_{concept}_{group.seed}_{digest}.json"
        return self.folder / name


def _filled_in(knobs: Mapping[str, object]) -> dict[str, object]:
    """Every knob of a recipe, so that a changed default makes another run of it."""
    from textual_inversion.training.recipe import Recipe

    return {**Recipe().as_dict(), **knobs}


def make(learner: Learner, store: Store, group: Group) -> list[Cell]:
    """Run what is missing of a group and keep it."""
    missing = store.missing(group)
    if missing:
        runs = [lockstep.Run(concepts.concept(name), group.seed) for name in missing]
        knobs = knobs_of(group.recipe, group.rate, group.marks[-1])
        learnt = lockstep.learn(learner, runs, knobs, group.marks)
        for run, found in zip(runs, learnt, strict=True):
            store.keep(group, _scored(learner, group, run, found))
    return store.cells(group)


def _scored(learner: Learner, group: Group, run: lockstep.Run, found: lockstep.Learnt) -> Cell:
    marks = sorted(found.marks)
    vectors = [*(found.marks[mark] for mark in marks)]
    if group.recipe not in CONTESTANTS or CONTESTANTS[group.recipe].rate is None:
        vectors.append(found.kept)
    measured = scores.score(learner, [scores.learnt_word(run.concept, each) for each in vectors])
    return Cell(
        recipe=group.recipe,
        rate=group.rate,
        seed=group.seed,
        concept=run.concept.name,
        scores={str(mark): asdict(each) for mark, each in zip(marks, measured, strict=False)},
        kept=asdict(measured[-1]),
        pictures_seen=found.pictures_seen,
        norm=float(vectors[-1].norm(dim=-1).mean()),
    )


@functools.cache
def _engine() -> str:
    """A digest of the code that decides what is learnt."""
    folder = Path(__file__).resolve().parents[1] / "training"
    code = b"".join(folder.joinpath(f"{name}.py").read_bytes() for name in DECISIVE)
    return hashlib.sha256(code).hexdigest()


def _digest(*parts: object) -> str:
    weights = hashlib.sha256(archive.WEIGHTS.read_bytes()).hexdigest()
    text = json.dumps([weights, _engine(), *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _write(place: Path, content: Mapping[str, object]) -> None:
    temporary = place.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(place)


def groups_of(
    recipe: str,
    rate: float | None,
    seeds: Sequence[int],
    names: Sequence[str],
    marks: Sequence[int],
) -> list[Group]:
    """A group for every seed."""
    return [Group(recipe, rate, seed, tuple(names), tuple(marks)) for seed in seeds]
