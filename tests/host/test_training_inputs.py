"""What is wired into Train Embedding reaches the learning: captions, masks, starts, presets."""

from __future__ import annotations

import pytest
import torch

from textual_inversion.tests.host import training_runs
from textual_inversion.tests.host.loaded_models import pictures

QUICK = {"steps": 2, "preview_every": 0, "keep": "last", "learning_rate": 0.1, "warmup_steps": 0}


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """Pictures of a word take most of a run as short as these."""
    from textual_inversion.nodes import training_previews

    monkeypatch.setattr(training_previews, "FULL_STEPS", 1)


@pytest.fixture
def learn(models, tmp_path):
    """``learn(recipe, **changes)`` gives a run's result."""

    def run(recipe=None, **changes):
        given = {"overwrite": True} | changes
        return training_runs.run(
            training_runs.request(models, tmp_path, QUICK | (recipe or {}), **given)
        )

    return run


def vectors(result) -> torch.Tensor:
    return result.embedding.vectors["clip_l"]


def left_half() -> torch.Tensor:
    mask = torch.zeros(3, 64, 64)
    mask[..., :32] = 1.0
    return mask


def test_captions_are_learnt_with_and_a_missing_word_is_noticed(learn):
    plain = learn()
    named = learn(captions=("word on grass", "a red word", "word"))
    lacking = learn(captions=("on grass", "a red word", "word"))
    assert "name the word" not in named.text
    assert "1 of 3 captions don't name the word ('word' or {}), so it was put in front" in (
        lacking.text
    )
    assert not torch.equal(vectors(plain), vectors(named))
    assert not torch.equal(vectors(named), vectors(lacking))


def test_alpha_counts_as_the_mask_does(learn):
    rgb = pictures(3)
    clear = torch.cat([rgb, left_half()[..., None]], dim=-1)
    plain, masked, alpha = learn(), learn(masks=[left_half()]), learn(images=[clear])
    assert torch.equal(vectors(masked), vectors(alpha))
    assert not torch.equal(vectors(masked), vectors(plain))
    everything = learn({"mask_background": 1.0}, masks=[left_half()])
    assert torch.allclose(vectors(everything), vectors(plain), atol=1e-5)


def test_good_pictures_turn_the_word_elsewhere(learn):
    bad = {"kind": "negative", "batch_size": 4}
    good = pictures(2, 80)
    plain, contrast = learn(bad), learn(bad, good_images=[good])
    assert vectors(contrast).isfinite().all()
    assert not torch.equal(vectors(plain), vectors(contrast))
    assert contrast.embedding.metadata["textual_inversion.pictures"] == "3"


def test_an_embedding_is_where_the_word_starts(learn):
    from textual_inversion.embeddings_io.embedding import Embedding

    given = torch.randn(2, 768, generator=torch.Generator().manual_seed(8))
    start = Embedding("start", {"clip_l": given}, {})
    result = learn({"learning_rate": 0.0, "num_vectors": 2}, initializer=start)
    near = torch.cosine_similarity(vectors(result), given)
    assert near.min() > 0.9999
    norms = vectors(result).norm(dim=-1)
    assert torch.allclose(norms, norms[:1].expand(2), rtol=1e-4) and norms[0] < 1.0


def test_auto_asks_the_model_for_the_word(learn, monkeypatch):
    from textual_inversion.training import initializer_search

    tree = {"star": ("heart",), "dog": ("puppy", "wolf"), "car": (), "tree": ()}
    monkeypatch.setattr(initializer_search, "candidates", lambda kind: tree)
    result = learn(initializer_text="auto")
    assert "The pictures are nearest to '" in result.text
    found = result.embedding.metadata["textual_inversion.initializer_text"]
    assert found in {*tree, "heart", "puppy", "wolf"}


def test_auto_decides_about_mirrored_pictures(learn):
    told = learn({"flip": "auto"}).text
    assert "Mirrored pictures are" in told
    assert "Mirrored" not in learn({"flip": "on"}).text


def test_every_knob_of_the_noise_changes_what_is_learnt(learn):
    knobs = [
        {},
        {"noise_offset": 0.5},
        {"min_snr_gamma": 1.0, "timestep_density": "uniform"},
        {"timestep_density": "uniform"},
        {"loss": "huber"},
    ]
    found = [vectors(learn(each)) for each in knobs]
    for number, one in enumerate(found):
        assert all(not torch.equal(one, other) for other in found[:number])


def test_preset_and_slider_make_the_recipe_and_say_so(comfyui_path):
    from textual_inversion.nodes.recipe_inputs import chosen_recipe
    from textual_inversion.nodes.train_embedding import KNOBS
    from textual_inversion.training.recipe import default

    def chosen(preset, fidelity, options=None, **changes):
        given = {name: default(name) for name in KNOBS} | changes
        given |= {"preset": preset, "fidelity": fidelity, "name": "word"}
        recipe, notices = chosen_recipe(given, KNOBS, options)
        assert given == {"name": "word"}
        return recipe, " ".join(notices)

    recipe, told = chosen("likeness", 0.0, steps=50)
    assert (recipe.kind, recipe.num_vectors, recipe.steps) == ("person", 4, 50)
    assert told == "Preset likeness, fidelity 0: kind person, num_vectors 4."
    assert chosen("auto", 0.0)[1] == ""
    faithful, told = chosen("auto", 1.0, [{"noise_offset": 0.1}])
    assert faithful.steps == 600 and faithful.noise_offset == 0.1
    assert told.startswith("Preset auto, fidelity 1: ") and "noise_offset" not in told


def test_the_line_tells_loss_speed_and_time_left(comfyui_path, monkeypatch):
    from textual_inversion.host import progress
    from textual_inversion.training.events import Probed, Stepped

    clock = iter(0.5 * tick for tick in range(1000))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    shown = progress.NodeProgress(200, None)
    shown.show(Probed(0, 0.5, 0.5, 0.5, 0))
    for step in range(1, 61):
        shown.show(Stepped(step, 200, 0.25, 0.1))
    # every event reads the clock twice, so a step takes a second here
    assert shown.line() == (
        "step 60/200 · 2:20 left · 1.00 it/s\nloss 0.2500 · probe 0.5000 -> 0.5000 at step 0"
    )
    shown.skip_time()
    assert "left" not in shown.line()
