"""The microworld's checkpoint, written out once from the archive in the repository."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from .cache import Cache
from .comfyui import ComfyUI
from .console import DevError, Step
from .server import PACK

SOURCES = ("weights.safetensors.xz", "archive.py", "expand.py", "networks.py", "world.py")


def checkpoint(cache: Cache, comfyui: ComfyUI) -> Path:
    """The path of ``microworld.safetensors``, a checkpoint in the Stable Diffusion 1.5 format.

    TI_CHECKPOINT names one that is already there.
    """
    if named := os.environ.get("TI_CHECKPOINT"):
        return Path(named)

    def make(staging: Path) -> None:
        command = [str(comfyui.python), "-m", "microworld.expand"]
        command.append(str(staging / "microworld.safetensors"))
        environment = {**os.environ, "COMFYUI_PATH": str(comfyui.folder)}
        with Step("Writing the microworld's checkpoint (0.3 GB, once)"):
            result = subprocess.run(
                command, cwd=PACK, capture_output=True, text=True, env=environment, check=False
            )
        if result.returncode != 0:
            raise DevError(f"The microworld could not be expanded:\n{result.stderr[-2000:]}")

    folder = cache.artefact(f"microworld-{_digest()}", make)
    return folder / "microworld.safetensors"


def _digest() -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        digest.update((PACK / "microworld" / name).read_bytes())
    return digest.hexdigest()[:12]
