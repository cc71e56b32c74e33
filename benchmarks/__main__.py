"""`python3 dev.py bench [judge] [floors] [gates] [steps] [recipes] [library] [prompt]`, or all."""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from microworld import concepts, evaluate, gates, judge
from microworld.learning import Learner

from . import library_scale, prompt_parsing, recipe_race, step_time
from .recipes import RECIPES


def _judge(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    count = 400 if options.quick else 4000
    return judge.report(judge.trained(), judge.shipped_autoencoder(), count)


def _floors(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    count = 80 if options.quick else 400
    with tempfile.TemporaryDirectory() as folder:
        sampler = evaluate.sampler_of_all_words(comfyui, Path(folder))
        return evaluate.table(evaluate.measure(sampler, count), count)


def _gates(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    names = ["i", "iv", "v"] if options.quick else list(gates.GATES)
    learner = Learner(comfyui, checkpoint)
    return gates.table([gates.GATES[name](learner) for name in names])


def _steps(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    return step_time.table(step_time.measure(comfyui, checkpoint, 10 if options.quick else 40))


def _recipes(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    learner = Learner(comfyui, checkpoint)
    found = [
        measurement
        for recipe in options.recipes
        for name in options.concepts
        for seed in range(options.seeds)
        for measurement in recipe_race.measure(
            learner, recipe, concepts.concept(name), seed, options.pictures, options.marks
        )
    ]
    if options.out:
        options.out.write_text(json.dumps([asdict(m) for m in found], indent=1) + "\n")
    return recipe_race.table(found)


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
    "recipes": _recipes,
    "library": _library,
    "prompt": _prompt,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument("what", nargs="*", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="fewer samples and gates")
    race = parser.add_argument_group("recipes")
    race.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    race.add_argument("--concepts", nargs="+", choices=concepts.names(), default=["red-star"])
    race.add_argument("--seeds", type=int, default=1, help="runs of each recipe and concept")
    race.add_argument("--pictures", type=int, default=1600, help="pictures seen by a run")
    race.add_argument("--marks", type=int, default=4, help="measurements in a run")
    race.add_argument("--out", type=Path, help="also write every measurement, as JSON")
    options = parser.parse_args()
    unknown = set(options.what) - set(MEASUREMENTS)
    if unknown:
        parser.error(f"{unknown.pop()!r} is none of {', '.join(MEASUREMENTS)}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    comfyui, checkpoint = (Path(os.environ[name]) for name in ("COMFYUI_PATH", "TI_CHECKPOINT"))
    for name in options.what or MEASUREMENTS:
        print(f"\n## {name}\n\n{MEASUREMENTS[name](comfyui, checkpoint, options)}\n", flush=True)


if __name__ == "__main__":
    main()
