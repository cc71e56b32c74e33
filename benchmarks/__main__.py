"""`python3 dev.py bench [steps] [size] [race] [negative] [library] [prompt]`, or all of these.

By name alone: `judge`, `floors` and `gates` ask whether the microworld can be believed, `presets`
tells what ours do, `develop` tries changes of our own recipe. Finished runs of the race are kept in
bench_output and not made again.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from microworld import evaluate, gates, judge
from microworld.learning import Learner

from . import (
    full_size,
    library_scale,
    negative_word,
    prompt_parsing,
    race,
    race_report,
    step_time,
)
from .race_cells import Store

STEP_TIMES = "step_times.json"


def _judge(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    count = 400 if options.quick else 4000
    return judge.report(judge.trained(), judge.shipped_autoencoder(), count)


def _floors(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    count = 40 if options.quick else 400
    with tempfile.TemporaryDirectory() as folder:
        sampler = evaluate.sampler_of_all_words(comfyui, Path(folder))
        return evaluate.table(evaluate.measure(sampler, count), count)


def _gates(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    names = ["iv"] if options.quick else list(gates.GATES)
    learner = Learner(comfyui, checkpoint)
    return gates.table([gates.GATES[name](learner) for name in names])


def _steps(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    steps, batches = (3, (4, 6)) if options.quick else (12, step_time.BATCHES)
    found = step_time.measure(comfyui, checkpoint, steps, batches)
    step_time.keep(found, Store(options.out).folder / STEP_TIMES)
    return step_time.table(found)


def _size(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    return full_size.measured(comfyui, quick=options.quick)


def _race(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    times = step_time.kept(options.out / STEP_TIMES)
    if options.quick:
        return _raced(comfyui, checkpoint, options, race.QUICK, times, min(options.minutes, 6))
    return _raced(comfyui, checkpoint, options, race.Plan(), times, options.minutes)


def _presets(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    return _raced(comfyui, checkpoint, options, race.OF_PRESETS, {}, options.minutes)


def _develop(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    return _raced(comfyui, checkpoint, options, race.DEVELOP, {}, options.minutes)


def _raced(
    comfyui: Path,
    checkpoint: Path,
    options: argparse.Namespace,
    plan: race.Plan,
    times: Mapping[int, step_time.StepTime],
    minutes: float,
) -> str:
    store, workers = Store(options.out), options.workers or race.usable_cores()
    results = race.run(comfyui, checkpoint, store, plan, workers=workers, minutes=minutes)
    return race_report.tables(results, times)


def _negative(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    steps, count, seeds = (60, 2, (0,)) if options.quick else (400, 8, (0, 1, 2))
    learner = Learner(comfyui, checkpoint)
    return negative_word.table(negative_word.measure(learner, steps, count, seeds))


def _library(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    files = 1000 if options.quick else library_scale.FILES
    return library_scale.table(library_scale.measure(comfyui, files))


def _prompt(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    count = 1000 if options.quick else prompt_parsing.PROMPTS
    return prompt_parsing.table(prompt_parsing.measure(count), count)


MEASUREMENTS: dict[str, Callable[[Path, Path, argparse.Namespace], str]] = {
    "judge": _judge,
    "floors": _floors,
    "gates": _gates,
    "steps": _steps,
    "size": _size,
    "race": _race,
    "negative": _negative,
    "presets": _presets,
    "develop": _develop,
    "library": _library,
    "prompt": _prompt,
}

EVERYTHING = ("steps", "size", "race", "negative", "library", "prompt")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument("what", nargs="*", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="little of everything, in minutes")
    parser.add_argument("--minutes", type=float, default=70, help="the longest the race may take")
    parser.add_argument("--workers", type=int, help="processes of the race (one a core, at most 4)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench_output"), help="where tables and runs are kept"
    )
    options = parser.parse_args()
    unknown = set(options.what) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"{unknown.pop()!r} is none of {', '.join(MEASUREMENTS)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    comfyui, checkpoint = (Path(os.environ[name]) for name in ("COMFYUI_PATH", "TI_CHECKPOINT"))
    options.out = options.out.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.what or EVERYTHING:
        section = f"## {name}\n\n{MEASUREMENTS[name](comfyui, checkpoint, options)}\n"
        options.out.joinpath(f"{name}.md").write_text(section)
        print(f"\n{section}", flush=True)


if __name__ == "__main__":
    main()
