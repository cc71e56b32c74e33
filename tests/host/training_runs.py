"""Training runs as the node asks for them, in this process or in one of their own."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import torch


def request(
    models: Any, folder: Path, recipe: dict[str, Any] | None = None, /, **changes: Any
) -> Any:
    """A short run on three small pictures; ``recipe`` are knobs, ``changes`` other fields."""
    from textual_inversion.nodes.training_run import TrainingRequest
    from textual_inversion.tests.host.loaded_models import pictures
    from textual_inversion.training.recipe import Recipe

    settings = {"steps": 3, "batch_size": 2, "probe_size": 2, "preview_every": 2}
    plain = TrainingRequest(
        model=models.model,
        clip=models.clip,
        vae=models.vae,
        images=[pictures(3)],
        captions=(),
        name="word",
        initializer_text="star",
        recipe=Recipe(**(settings | (recipe or {}))),
        overwrite=False,
        folder=folder,
        base_model="world.safetensors",
    )
    return dataclasses.replace(plain, **changes)


def run(asked: Any) -> Any:
    """Carry a request out as a graph does, in inference mode."""
    from textual_inversion.nodes.training_run import TrainingRun

    with torch.inference_mode():
        return TrainingRun(asked).execute()


LONG = {"steps": 10, "probe_every": 2, "preview_every": 0, "num_vectors": 2}


def train_in_a_process(checkpoint: Path, folder: Path, threads: int) -> None:
    """What a server does: load the models, train, and leave what a person reads."""
    torch.set_num_threads(threads)
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    from comfy.cli_args import args

    args.cpu = True
    args.base_directory = str(folder)
    from textual_inversion.nodes import training_previews
    from textual_inversion.tests.host import loaded_models

    training_previews.FULL_STEPS = 1
    result = run(request(loaded_models.load_file(checkpoint), folder, LONG))
    (folder / "told.txt").write_text(result.text, encoding="utf-8")
