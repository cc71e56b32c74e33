"""``dev.py demo`` as a person runs it, on the environment that is already there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finished(
    comfyui_folder: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder that the demonstration wrote, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    command = [python, "-m", "devtools.demo", "--comfyui", str(comfyui_folder)]
    command += ["--cache", str(folder / "cache"), "--checkpoint", str(checkpoint)]
    command += ["--into", str(folder / "results"), "--cpu"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (written,) = (folder / "results").iterdir()
    return written, result.stdout


def test_the_word_was_learnt(finished: tuple[Path, str]) -> None:
    report = json.loads((finished[0] / "report.json").read_text(encoding="utf-8"))
    score = report["score"]
    assert score["initializer"] < 0.5 * score["oracle"]
    assert score["learnt"] >= 0.85 * score["oracle"]
    assert report["another_background"]["background_right"] >= 0.5
    assert 0 < report["steps"] <= 400
    assert report["training_seconds"] > 0 and report["steps_per_second"] > 0


def test_it_says_where_everything_is(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    for name in ("red-star.safetensors", "before_and_after.png", "report.json", "pictures"):
        assert str(folder / name) in printed
        assert (folder / name).exists()
    sheet = Image.open(folder / "before_and_after.png")
    assert sheet.width > 1000 and len(set(sheet.convert("RGB").getdata())) > 500
    assert len(list((folder / "training_pictures").glob("*.png"))) == 6


def test_its_own_folders_are_gone(finished: tuple[Path, str]) -> None:
    cache = finished[0].parents[1] / "cache"
    assert not any((cache / "runs").iterdir())
