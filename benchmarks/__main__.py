"""`python3 dev.py bench [judge] [floors] [gates] [steps]`: all of them where none is named."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from microworld import evaluate, gates, judge
from microworld.expand import expand
from microworld.learning import Learner
from microworld.sampler import Sampler

from . import step_time


def _judge(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    return judge.report(
        judge.trained(), judge.shipped_autoencoder(), 400 if options.quick else 4000
    )


def _floors(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    count = 80 if options.quick else 400
    with tempfile.TemporaryDirectory() as folder:
        whole = expand(Path(folder, "whole.safetensors"), amputated=False)
        return evaluate.table(evaluate.measure(Sampler(comfyui, whole), count), count)


def _gates(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    names = ["i", "iv", "v"] if options.quick else list(gates.GATES)
    learner = Learner(comfyui, checkpoint)
    return gates.table([gates.GATES[name](learner) for name in names])


def _steps(comfyui: Path, checkpoint: Path, options: argparse.Namespace) -> str:
    return step_time.table(step_time.measure(comfyui, checkpoint, 10 if options.quick else 40))


MEASUREMENTS: dict[str, Callable[[Path, Path, argparse.Namespace], str]] = {
    "judge": _judge,
    "floors": _floors,
    "gates": _gates,
    "steps": _steps,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument("what", nargs="*", help=", ".join(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="fewer samples and gates")
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
