"""``dev.py test``: the linter, the type checker, and pytest with a real ComfyUI."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import child
from .cache import Cache
from .comfyui import ComfyUI
from .console import DevError, Step
from .environment import layered_python
from .microworld import checkpoint
from .server import PACK, link_or_copy

TYPED_PACKAGES = ("embeddings_io", "training")


def run(cache: Cache, comfyui: ComfyUI, pytest_arguments: list[str]) -> int:
    """Every check; pytest's exit status. Raises DevError if the linter or the types object."""
    python = layered_python(cache, comfyui.python, "test", PACK / "pyproject.toml")
    model = checkpoint(cache, comfyui)
    _check("ruff check", [str(python), "-m", "ruff", "check", "."], PACK)
    _check("ruff format", [str(python), "-m", "ruff", "format", "--check", "."], PACK)
    _check_types(cache, python)
    environment = {
        **os.environ,
        "COMFYUI_PATH": str(comfyui.folder),
        "COMFYUI_PYTHON": str(comfyui.python),
        "TI_CHECKPOINT": str(model),
        "HF_HUB_OFFLINE": "1",
    }
    with cache.private_folder("tests") as folder:
        command = [str(python), "-m", "pytest", f"--basetemp={folder / 'pytest'}"]
        command += pytest_arguments
        return child.run(command, PACK, environment)


def _check_types(cache: Cache, python: Path) -> None:
    """mypy, with the pack under a name that Python can import."""
    with cache.private_folder("types") as folder:
        link_or_copy(PACK, folder / "textual_inversion")
        command = [str(python), "-m", "mypy", "--config-file", str(PACK / "pyproject.toml")]
        command += ["--cache-dir", str(cache.folder / "mypy")]
        for package in TYPED_PACKAGES:
            command += ["-p", f"textual_inversion.{package}"]
        _check("mypy", command, folder)


def _check(name: str, command: list[str], folder: Path) -> None:
    with Step(name):
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DevError(f"{name} objects:\n{result.stdout}{result.stderr}")
