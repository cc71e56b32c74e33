"""Killed at any moment and begun again, a run ends with the very same vectors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from textual_inversion.tests.unit.test_trainer import finish, trainer
from textual_inversion.tests.unit.toy_world import KEY
from textual_inversion.training.events import Resumable
from textual_inversion.training.resume import ResumeFile, identity

SETTINGS = {"steps": 60, "probe_every": 5, "num_vectors": 2}


def made(**changes):
    return trainer(**(SETTINGS | changes))


def identified(run) -> str:
    initial = {key: each.vectors() for key, each in run.optimizers.items()}
    return identity(run.recipe, initial, run.dataset, None)


def train(folder: Path) -> None:
    """What a node does: go on where a resume file says so, write it, and save the result."""
    run = made()
    file = ResumeFile(folder, "word", identified(run))
    state = file.read()
    resumed = state is not None and run.resume(state)
    with (folder / "begun").open("a") as log:
        log.write(f"{run.steps_done if resumed else 0}\n")
    for event in run.run():
        time.sleep(0.002)
        if isinstance(event, Resumable):
            file.write(run.state_dict())
    torch.save(run.best, folder / "result.pt")
    file.remove()


def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path, root):
    whole = finish(made())
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import conftest\n"
        "from textual_inversion.tests.unit.test_resume import train\n"
        "train(pathlib.Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(root / "tests"), str(tmp_path)]
    kills = 0
    for attempt in range(12):
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        begun = tmp_path / "begun"
        while process.poll() is None and begun_times(begun) <= attempt:
            time.sleep(0.01)
        if attempt < 3:
            wait_for_progress(tmp_path / "word.resume", process)
        if process.poll() is None and attempt < 3:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait(timeout=120)
        if (tmp_path / "result.pt").is_file():
            break
    assert kills == 3
    starts = [int(line) for line in begun.read_text().splitlines()]
    assert starts[0] == 0 and starts == sorted(starts) and starts[-1] > 0
    result = torch.load(tmp_path / "result.pt", weights_only=True)
    assert torch.equal(result[KEY], whole.vectors[KEY])
    assert not (tmp_path / "word.resume").exists()


def begun_times(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.is_file() else 0


def wait_for_progress(path: Path, process: subprocess.Popen) -> None:
    """Until the resume file was written anew."""
    before = path.stat().st_mtime_ns if path.is_file() else None
    while process.poll() is None:
        if path.is_file() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.001)


@pytest.fixture
def half(tmp_path):
    """A run that was interrupted after 30 steps, and its file."""
    run = made()
    file = ResumeFile(tmp_path, "word", identified(run))
    for event in run.run():
        if isinstance(event, Resumable):
            file.write(run.state_dict())
            if event.step == 30:
                return file


def test_every_tensor_and_number_comes_back(half):
    state = half.read()
    again = made()
    assert again.resume(state) and again.steps_done == 30
    whole = finish(made())
    ended = finish(again)
    assert torch.equal(ended.vectors[KEY], whole.vectors[KEY])
    assert ended.best_loss == whole.best_loss and again.curve[-1][0] == 60
    assert half.path.stat().st_size < 100_000


@pytest.mark.parametrize(
    "change", [{"seed": 9}, {"learning_rate": 0.06}, {"steps": 61}, {"captions": ["a {}"] * 6}]
)
def test_another_run_does_not_go_on_from_it(half, change):
    captions = change.get("captions")
    other = made(**change) if captions is None else made(captions=captions)
    assert ResumeFile(half.path.parent, "word", identified(other)).read() is None


def test_knobs_that_change_no_vector_may_differ(half):
    other = made(preview_every=3, save_memory=True)
    assert ResumeFile(half.path.parent, "word", identified(other)).read() is not None


@pytest.mark.parametrize("content", [b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", b"x" * 5000])
def test_a_broken_file_begins_anew(half, content):
    half.path.write_bytes(content)
    assert half.read() is None
    half.path.write_bytes(half.path.read_bytes()[:100])
    assert half.read() is None


def test_a_full_disk_leaves_the_old_file_whole(half, monkeypatch):
    before = half.path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        half.write({"curve": []})
    assert half.path.read_bytes() == before
    assert list(half.path.parent.iterdir()) == [half.path]
