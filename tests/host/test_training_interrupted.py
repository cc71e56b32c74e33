"""Node runs that are killed, cancelled, short of memory, or on models without a gradient."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from textual_inversion.tests.host import training_runs

SETTINGS = {"steps": 4, "probe_every": 2, "preview_every": 0}


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("interrupted"))


@pytest.fixture(autouse=True)
def short_previews(monkeypatch):
    """Pictures of a word would take most of so short a run."""
    from textual_inversion.nodes import training_previews

    monkeypatch.setattr(training_previews, "FULL_STEPS", 1)


@pytest.fixture
def whole(models, tmp_path) -> bytes:
    """The file of a run that nothing stops."""
    asked = training_runs.request(models, tmp_path / "whole", training_runs.LONG)
    return training_runs.run(asked).path.read_bytes()


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "broken").mkdir()
    return tmp_path / "broken"


def process_of(root, checkpoint, folder) -> subprocess.Popen:
    code = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import conftest\n"
        "from textual_inversion.tests.host.training_runs import train_in_a_process\n"
        "checkpoint, folder = map(pathlib.Path, sys.argv[2:4])\n"
        "train_in_a_process(checkpoint, folder, int(sys.argv[4]))"
    )
    given = [str(root / "tests"), str(checkpoint), str(folder), str(torch.get_num_threads())]
    return subprocess.Popen([sys.executable, "-c", code, *given], env=dict(os.environ))


def test_killed_and_begun_again_the_file_has_the_same_bytes(models, root, whole, broken):
    """SIGKILL, and another process that goes on; compared with a run here that nothing stops."""
    process = process_of(root, models.path, broken)
    written: set[int] = set()
    while process.poll() is None and len(written) < 2:
        if (broken / "word.resume").is_file():
            written.add((broken / "word.resume").stat().st_mtime_ns)
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert not (broken / "word.safetensors").exists()
    assert process_of(root, models.path, broken).wait(timeout=300) == 0
    told = (broken / "told.txt").read_text(encoding="utf-8")
    assert "The run goes on at step" in told
    assert (broken / "word.safetensors").read_bytes() == whole
    assert not (broken / "word.resume").exists()


def test_cancelled_and_begun_again_the_file_has_the_same_bytes(models, whole, broken, monkeypatch):
    from textual_inversion.host.progress import Interrupted, NodeProgress

    shown = NodeProgress.show

    def cancelling(progress, event):
        shown(progress, event)
        if progress.step == 5:
            raise Interrupted

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(NodeProgress, "show", cancelling)
        training_runs.run(training_runs.request(models, broken, training_runs.LONG))
    kept = (broken / "word.safetensors").read_bytes()
    again = training_runs.request(models, broken, training_runs.LONG, overwrite=True)
    assert "goes on at step 4" in training_runs.run(again).text
    assert (broken / "word.safetensors").read_bytes() == whole != kept


def cramped(monkeypatch, room: int) -> None:
    """Passes that are to go back find room for this many pictures only, then ask for too much."""
    from textual_inversion.host.denoiser import ModelDenoiser

    denoise = ModelDenoiser.denoise

    def denoising(self, noisy, *given):
        if torch.is_grad_enabled() and noisy.shape[0] > room:
            torch.empty(1 << 60)
        return denoise(self, noisy, *given)

    monkeypatch.setattr(ModelDenoiser, "denoise", denoising)


@pytest.mark.parametrize("host", ["newer", "older", "older still"])
def test_the_host_is_asked_too_where_it_can_tell(comfyui_path, monkeypatch, host: str):
    import comfy.model_management as management

    from textual_inversion.host.shortage import is_out_of_memory

    class OddError(ValueError):
        pass

    asked = []
    known = {"newer": (), "older": OddError, "older still": Exception}[host]
    monkeypatch.setattr(management, "OOM_EXCEPTION", known, raising=False)
    if host == "newer":
        answer = lambda error: asked.append(error) or isinstance(error, OddError)  # noqa: E731
        monkeypatch.setattr(management, "is_oom", answer, raising=False)
    else:
        monkeypatch.delattr(management, "is_oom", raising=False)
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value) and is_out_of_memory(torch.OutOfMemoryError("no room"))
    assert is_out_of_memory(OddError()) == (host != "older still")
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert len(asked) == (4 if host == "newer" else 0)


def test_short_of_memory_it_steps_down_and_says_so(models, tmp_path, monkeypatch):
    before = models.sample()
    roomy = training_runs.run(training_runs.request(models, tmp_path / "roomy", SETTINGS))
    cramped(monkeypatch, 1)
    result = training_runs.run(training_runs.request(models, tmp_path / "cramped", SETTINGS))
    assert "At step 0 memory ran out: parts of the network are now computed twice." in result.text
    assert "is now learnt from one picture at a time" in result.text
    expected = roomy.embedding.vectors["clip_l"]
    assert torch.allclose(result.embedding.vectors["clip_l"], expected, atol=1e-3 * expected.norm())
    assert torch.equal(models.sample(), before)


def test_with_no_memory_at_all_it_ends_in_one_sentence(models, tmp_path, monkeypatch):
    from textual_inversion.training.trainer import TrainingError

    cramped(monkeypatch, 0)
    with pytest.raises(TrainingError, match="not enough memory"):
        training_runs.run(training_runs.request(models, tmp_path, SETTINGS))
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_patched_model_that_passes_no_gradient_is_refused(models, tmp_path):
    from textual_inversion.training.trainer import TrainingError

    patched = models.model.clone()
    patched.set_model_attn2_patch(
        lambda n, context, value, _: (n, context.detach(), value.detach())
    )
    with pytest.raises(TrainingError, match=r"No gradient reaches the vectors of clip_l"):
        training_runs.run(training_runs.request(models, tmp_path, SETTINGS, model=patched))
    assert not list(tmp_path.iterdir())
    assert training_runs.run(training_runs.request(models, tmp_path, SETTINGS)).path.is_file()


@pytest.mark.parametrize(
    ("reason", "words"),
    [("diverged", "The run diverged and was ended"), ("no numbers", "The loss was no number")],
)
def test_a_run_that_ended_itself_says_why(models, tmp_path, monkeypatch, reason, words):
    import dataclasses

    from textual_inversion.training.events import Finished
    from textual_inversion.training.trainer import Trainer

    whole = Trainer.run

    def ended(trainer):
        for event in whole(trainer):
            is_last = isinstance(event, Finished)
            yield dataclasses.replace(event, reason=reason) if is_last else event

    monkeypatch.setattr(Trainer, "run", ended)
    result = training_runs.run(training_runs.request(models, tmp_path, SETTINGS))
    told = next(line for line in result.text.splitlines() if line.startswith(words))
    assert "step 4" in told and "kept" in told and "ower learning_rate" in told
    assert load_file(tmp_path / "word.safetensors")["emb_params"].isfinite().all()
