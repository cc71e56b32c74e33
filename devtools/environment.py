"""Virtual environments in the cache: ComfyUI's own, and the layer of test tools over any."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from .cache import Cache
from .console import DevError, Step
from .pip import run_pip

TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
CONSTRAINTS = ("transformers<5", "numpy<3")


def comfyui_python(cache: Cache, requirements: Path) -> Path:
    """The Python of an environment with torch and the packages that ComfyUI asks for."""

    def make(staging: Path) -> None:
        python = _create(staging)
        constraints = staging / "constraints.txt"
        constraints.write_text("\n".join((*TORCH, *CONSTRAINTS)), encoding="utf-8")
        run_pip(
            python,
            ["install", *TORCH, "-r", str(requirements), "-c", str(constraints)],
            "Installing torch and ComfyUI's packages (about 2.5 GB to download, once)",
        )

    digest = _digest(*TORCH, *CONSTRAINTS, requirements.read_text(encoding="utf-8"))
    return python_in(cache.artefact(f"python{_version()}-{digest}", make))


def layered_python(cache: Cache, base: Path, group: str, pyproject: Path) -> Path:
    """The Python of an environment that adds a dependency group to all that ``base`` has."""
    wanted = dependency_group(pyproject, group)
    installed = _installed(base)

    def make(staging: Path) -> None:
        _create(staging, by=base)
        python = python_in(staging)
        link = f"import site; site.addsitedir({installed['folder']!r})\n"
        _site_packages(python).joinpath("_base.pth").write_text(link, encoding="utf-8")
        constraints = staging / "constraints.txt"
        constraints.write_text("\n".join(installed["versions"]), encoding="utf-8")
        run_pip(
            python,
            ["install", *wanted, "-c", str(constraints)],
            f"Installing the packages for {group}",
        )

    digest = _digest(*wanted, str(base), *installed["versions"])
    return python_in(cache.artefact(f"{group}-{digest}", make))


def dependency_group(pyproject: Path, name: str) -> list[str]:
    """The requirements of one ``[dependency-groups]`` entry (Python 3.10 has no TOML reader)."""
    text = pyproject.read_text(encoding="utf-8")
    section = text.partition("[dependency-groups]")[2]
    found = re.search(rf"^{re.escape(name)} = (\[.*?^\])", section, re.MULTILINE | re.DOTALL)
    if found is None:
        raise DevError(f"{pyproject} has no dependency group {name!r}.")
    return list(ast.literal_eval(found[1]))


def python_in(environment: Path) -> Path:
    if sys.platform == "win32":
        return environment / "Scripts" / "python.exe"
    return environment / "bin" / "python"


def pip_python(cache: Cache) -> Path:
    """A Python with pip, for downloads made before there is an environment for ComfyUI."""

    def make(staging: Path) -> None:
        _create(staging)

    return python_in(cache.artefact(f"pip{_version()}-{_digest()}", make))


def _create(folder: Path, by: Path | None = None) -> Path:
    creator = str(by or sys.executable)
    with Step("Creating a virtual environment"):
        result = subprocess.run(
            [creator, "-m", "venv", str(folder)], capture_output=True, text=True, check=False
        )
    if result.returncode != 0:
        raise DevError(
            f"{creator} cannot create a virtual environment; install its venv module "
            "(on Debian and Ubuntu: apt install python3-venv) and run the same command again."
        )
    return python_in(folder)


def _installed(python: Path) -> dict:
    code = (
        "import json, re, sysconfig; from importlib.metadata import distributions;"
        "names = {(d.metadata['Name'], d.version.split('+')[0]) for d in distributions()};"
        "plain = sorted(f'{n}=={v}' for n, v in names"
        " if n and re.fullmatch('[0-9.]+', v) and n not in ('pip', 'setuptools', 'wheel'));"
        "print(json.dumps({'folder': sysconfig.get_paths()['purelib'], 'versions': plain}))"
    )
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise DevError(f"{python} does not run: {result.stderr.strip().splitlines()[-1:]}")
    return json.loads(result.stdout)


def _site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    output = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return Path(output.stdout.strip())


def _version() -> str:
    return f"{sys.version_info[0]}.{sys.version_info[1]}"


def _digest(*parts: str) -> str:
    text = "\n".join((*parts, sys.platform, os.fspath(sys.prefix)))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
