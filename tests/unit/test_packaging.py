"""What the registry, the manager and the archive need of the repository."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_project_table() -> None:
    project = PROJECT["project"]
    assert project["name"] == "textual-inversion"
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["dependencies"] == []
    assert project["requires-python"] == ">=3.10"
    assert (ROOT / project["license"]["file"]).read_text().lstrip().startswith("GNU GENERAL PUBLIC")
    assert "Repository" in project["urls"]


def test_registry_table() -> None:
    comfy = PROJECT["tool"]["comfy"]
    assert comfy["PublisherId"] and comfy["DisplayName"] == "Textual Inversion"
    assert comfy["requires-comfyui"] == ">=0.3.75"
    assert "web" not in comfy  # ComfyUI would load every script twice


def test_icon_is_a_small_square() -> None:
    icon = ROOT / "web" / "icon.png"
    assert PROJECT["tool"]["comfy"]["Icon"].endswith("/web/icon.png")
    width, height = struct.unpack(">II", icon.read_bytes()[16:24])
    assert width == height <= 400


def published(root: Path = ROOT) -> list[str]:
    """Tracked files that .comfyignore leaves in the archive."""

    def listed(*arguments: str) -> set[str]:
        command = ["git", "-C", str(root), "ls-files", *arguments]
        output = subprocess.run(command, capture_output=True, text=True, check=False)
        if output.returncode != 0:
            pytest.skip("not a git checkout")
        return set(output.stdout.splitlines())

    ignored = listed("--cached", "--ignored", f"--exclude-from={root / '.comfyignore'}")
    return sorted(listed() - ignored)


def test_archive_holds_the_pack_and_nothing_else() -> None:
    folders = {name.split("/")[0] for name in published()}
    needed = {"__init__.py", "nodes", "training", "host", "embeddings_io", "web", "locales"}
    assert needed <= folders
    kept_out = {"tests", "microworld", "benchmarks", "devtools", "dev.py", ".ci"}
    assert not kept_out & folders


def test_archive_is_small() -> None:
    assert sum((ROOT / name).stat().st_size for name in published()) < 3_000_000


def test_no_requirements_file_and_no_installer() -> None:
    assert not (ROOT / "requirements.txt").exists()
    assert not (ROOT / "install.py").exists()


def test_json_files_are_valid() -> None:
    for name in published():
        if name.endswith(".json"):
            json.loads((ROOT / name).read_text(encoding="utf-8"))


def test_ci_runs_the_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for line in script.splitlines() if line.startswith("python3 ")]
    assert commands == ["python3 dev.py test"]
    assert "python3 dev.py test" in (ROOT / "README.md").read_text(encoding="utf-8")
