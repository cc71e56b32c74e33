"""A whole run without a server: result and file, cancelling, failing, and errors found early."""

from __future__ import annotations

import functools
import os
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from textual_inversion.tests.host import training_runs
from textual_inversion.tests.host.training_runs import run


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("run"))


@pytest.fixture
def request_for(models, tmp_path):
    return functools.partial(training_runs.request, models, tmp_path)


def test_a_run_gives_a_file_pictures_a_curve_and_figures(models, request_for, tmp_path):
    before = models.sample()
    result = run(request_for({"num_vectors": 2}))
    assert torch.equal(models.sample(), before)
    stored = load_file(tmp_path / "word.safetensors")
    assert torch.equal(stored["emb_params"], result.embedding.vectors["clip_l"])
    assert stored["emb_params"].shape == (2, 768)
    with safe_open(tmp_path / "word.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["textual_inversion.base_model"] == "world.safetensors"
    assert metadata["textual_inversion.initializer_text"] == "star"
    assert metadata["textual_inversion.steps"] == "3"
    assert metadata["textual_inversion.pictures"] == "3"
    assert (tmp_path / "word.preview.png").is_file()
    assert result.previews.shape == (4, 64, 64, 3)
    assert not torch.equal(result.previews[:2], result.previews[2:])
    assert len(result.curve) == 2 and result.figures["steps"] == 3
    assert result.embedding.prompt_text == "embedding:word"


def test_a_seed_decides_every_byte_of_the_file(models, request_for, tmp_path, tmp_path_factory):
    """On models used before, on used ones that sampled since, and on models loaded anew."""
    from textual_inversion.tests.host import loaded_models

    anew = loaded_models.load(tmp_path_factory.mktemp("anew"))
    files = []
    for used in (models, models, anew):
        models.sample(steps=1)
        parts = {"model": used.model, "clip": used.clip, "vae": used.vae}
        run(request_for({"preview_every": 0}, overwrite=True, **parts))
        files.append((tmp_path / "word.safetensors").read_bytes())
    assert files[0] == files[1] == files[2]


def test_cancelled_it_keeps_the_best_and_passes_the_cancel_on(
    models, request_for, tmp_path, monkeypatch
):
    from comfy import model_management

    from textual_inversion.host.progress import NodeProgress

    before = models.sample()
    steps, lines = [], []
    shown = NodeProgress.show

    def cancelling(progress, event):
        shown(progress, event)
        steps.append(progress.step)
        if progress.step == 2:
            model_management.interrupt_current_processing(True)

    monkeypatch.setattr(NodeProgress, "show", cancelling)
    monkeypatch.setattr(NodeProgress, "_send", lambda progress, line: lines.append(line))
    with pytest.raises(model_management.InterruptProcessingException):
        run(request_for({"steps": 500, "preview_every": 0}))
    assert max(steps) <= 3
    assert lines[0].startswith("step 1/500\nloss ") or lines[0].startswith("step 0/500")
    said = f"cancelled at step {max(steps)}/500\nthe best so far is saved: embedding:word"
    assert lines[-1] == said
    stored = load_file(tmp_path / "word.safetensors")["emb_params"]
    assert stored.shape == (1, 768) and stored.isfinite().all()
    assert torch.equal(models.sample(), before)


class CrashError(BaseException):
    """Nothing that anything catches, as a killed process would not."""


def crash_at(monkeypatch, step: int) -> None:
    from textual_inversion.host.progress import NodeProgress

    shown = NodeProgress.show

    def crashing(progress, event):
        shown(progress, event)
        if progress.step == step:
            raise CrashError

    monkeypatch.setattr(NodeProgress, "show", crashing)


def test_begun_again_after_a_crash_it_gives_the_same_bytes(request_for, tmp_path, monkeypatch):
    settings = {"steps": 6, "probe_every": 2, "preview_every": 0}
    run(request_for(settings))
    whole = (tmp_path / "word.safetensors").read_bytes()
    (tmp_path / "word.safetensors").unlink()
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        crash_at(patched, 5)
        run(request_for(settings))
    assert not (tmp_path / "word.safetensors").exists()
    assert (tmp_path / "word.resume").is_file()
    result = run(request_for(settings))
    assert "goes on at step 4" in result.text
    assert (tmp_path / "word.safetensors").read_bytes() == whole
    assert not (tmp_path / "word.resume").exists()


def test_a_folder_that_is_not_there_is_made_before_the_first_step(
    request_for, tmp_path, monkeypatch
):
    folder = tmp_path / "models" / "embeddings"
    settings = {"steps": 4, "probe_every": 2, "preview_every": 0}
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        crash_at(patched, 3)
        run(request_for(settings, folder=folder))
    assert [each.name for each in folder.iterdir()] == ["word.resume"]
    result = run(request_for(settings, folder=folder))
    assert "goes on at step 2" in result.text and "Could not write" not in result.text
    assert (folder / "word.safetensors").is_file()


def test_a_folder_that_cannot_be_made_is_told_before_the_first_step(
    request_for, tmp_path, monkeypatch
):
    from textual_inversion.host.denoiser import ModelDenoiser

    def refuse(*_, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ModelDenoiser, "denoise", refuse)
    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    with pytest.raises(ValueError, match=r"Cannot write to .*models: Permission denied\. Free it"):
        run(request_for(folder=tmp_path / "models"))


def test_with_other_settings_it_begins_anew(request_for, tmp_path, monkeypatch):
    settings = {"steps": 6, "probe_every": 2, "preview_every": 0}
    with monkeypatch.context() as patched, pytest.raises(CrashError):
        crash_at(patched, 3)
        run(request_for(settings))
    result = run(request_for(settings | {"seed": 1}))
    assert "goes on" not in result.text and result.figures["steps"] == 6


def test_snapshots_are_words_of_their_own(request_for, tmp_path):
    run(request_for({"steps": 4, "snapshot_every": 2, "preview_every": 0}))
    folder = tmp_path / "word-snapshots"
    assert sorted(each.name for each in folder.iterdir()) == [
        "step-000002.safetensors",
        "step-000004.safetensors",
    ]
    kept = load_file(folder / "step-000002.safetensors")["emb_params"]
    assert kept.shape == (1, 768)


def test_a_folder_that_vanishes_is_told_and_the_word_is_saved_all_the_same(
    request_for, tmp_path, monkeypatch
):
    from textual_inversion.host.progress import NodeProgress

    folder = tmp_path / "embeddings"
    folder.mkdir()
    shown = NodeProgress.show

    def removing(progress, event):
        shown(progress, event)
        if progress.step == 1 and folder.exists():
            shutil.rmtree(folder)

    monkeypatch.setattr(NodeProgress, "show", removing)
    settings = {"steps": 3, "probe_every": 1, "preview_every": 0}
    result = run(request_for(settings, folder=folder))
    assert "Could not write the resume file" in result.text
    assert (folder / "word.safetensors").is_file()


def test_a_full_disk_leaves_the_old_file_whole(request_for, tmp_path, monkeypatch):
    settings = {"steps": 2, "probe_every": 1, "preview_every": 0}
    run(request_for(settings))
    before = (tmp_path / "word.safetensors").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match="No space left") as caught:
        run(request_for(settings | {"seed": 2}, overwrite=True))
    assert "Free it" in str(caught.value)
    assert (tmp_path / "word.safetensors").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".tmp"] == []


def test_previews_show_the_initializer_beside_the_word_for_own_prompts(
    models, request_for, monkeypatch
):
    from textual_inversion.host import previews
    from textual_inversion.host.progress import NodeProgress

    asked, sheets = [], []
    sample = previews.sample

    def noting(model, clip, vae, prompt, sampling, **options):
        asked.append((prompt, sampling.seed))
        return sample(model, clip, vae, prompt, sampling, **options)

    monkeypatch.setattr(previews, "sample", noting)
    monkeypatch.setattr(NodeProgress, "picture", lambda progress, image: sheets.append(image))
    own = "a {} on grass\n\na drawing of {}"
    run(request_for({"steps": 3, "preview_every": 1, "preview_prompts": own, "seed": 7}))
    expected = ["a star on grass", "a drawing of star"]
    expected += ["a embedding:word on grass", "a drawing of embedding:word"] * 2
    assert [prompt for prompt, _ in asked[:6]] == expected
    assert {seed for _, seed in asked} == {7}
    assert [sheet.size for sheet in sheets] == [(128, 128)] * 2


def test_failing_it_leaves_nothing(models, request_for, tmp_path, monkeypatch):
    from textual_inversion.host.denoiser import ModelDenoiser
    from textual_inversion.training.trainer import TrainingError

    before = models.sample()
    denoise = ModelDenoiser.denoise
    monkeypatch.setattr(ModelDenoiser, "denoise", lambda *given: denoise(*given) * torch.nan)
    with pytest.raises(TrainingError, match="not a number"):
        run(request_for())
    assert not list(tmp_path.iterdir())
    assert torch.equal(models.sample(), before)


def test_a_preview_that_fails_does_not_end_the_run(request_for, tmp_path, monkeypatch):
    from textual_inversion.host import previews

    def fail(*given, **options):
        raise RuntimeError("no picture today")

    monkeypatch.setattr(previews, "sample", fail)
    assert run(request_for()).figures["steps"] == 3
    assert (tmp_path / "word.safetensors").is_file()


@pytest.fixture
def untrained(monkeypatch):
    """Fails the test if anything expensive begins."""
    from textual_inversion.nodes import training_run

    def begin(*given, **options):
        raise AssertionError("the error was found too late")

    monkeypatch.setattr(training_run, "cache_latents", begin)


@pytest.mark.parametrize(
    ("changes", "recipe", "words"),
    [
        ({"name": "my word"}, {}, "my word"),
        ({"name": "a/b"}, {}, "'/'"),
        ({"name": ".."}, {}, "'.'"),
        ({"initializer_text": " "}, {}, "initializer text"),
        ({}, {"num_vectors": 75}, "num_vectors"),
        ({"captions": ("a long caption " * 30 + "{}",)}, {}, "caption"),
        ({"images": []}, {}, "no pictures"),
        ({"images": [torch.full((2, 64, 64, 3), torch.nan)]}, {}, "NaN"),
    ],
)
def test_bad_input_is_found_before_training(
    request_for, tmp_path, untrained, changes, recipe, words
):
    with pytest.raises(ValueError, match=r"\w") as caught:
        run(request_for(recipe, **changes))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_existing_name_is_found_before_training(request_for, tmp_path, untrained):
    (tmp_path / "word.pt").write_bytes(b"old")
    with pytest.raises(ValueError, match="overwrite"):
        run(request_for())
    assert (tmp_path / "word.pt").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written_is_found_before_training(request_for, tmp_path, untrained):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="Cannot write"):
        run(request_for(folder=tmp_path / "file" / "embeddings"))


def test_a_vae_of_another_model_is_refused(models, request_for, monkeypatch):
    from textual_inversion.host.families import UnsupportedModelError

    monkeypatch.setattr(models.vae, "latent_channels", 16)
    with pytest.raises(UnsupportedModelError, match="16 channels"):
        run(request_for())


def test_the_base_model_is_read_off_the_graph():
    from textual_inversion.host.provenance import base_model_name

    graph = {
        "1": {"inputs": {"ckpt_name": "sd15.safetensors"}},
        "2": {"inputs": {"model": ["1", 0], "lora_name": "x.safetensors"}},
        "3": {"inputs": {"model": ["2", 0], "name": "word"}},
        "4": {"inputs": {"model": ["5", 0]}},
        "5": {"inputs": {"model": ["4", 0]}},
    }
    assert base_model_name(graph, "3", "model") == "sd15.safetensors"
    assert base_model_name(graph, "4", "model") == ""
    assert base_model_name(None, "3", "model") == ""
    assert base_model_name(graph, "9", "model") == ""
