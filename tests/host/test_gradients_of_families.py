"""SDXL and SD2: loss and gradients equal those of an independent implementation."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

pytest.importorskip("diffusers", reason="needs diffusers; run: python3 dev.py test")

PROMPTS = ("a photo of {}", "{} on the left of a red table", "{}", "a good look at {}, at night")
TIMESTEPS = (850, 300, 40, 600)
FAMILIES = ("sdxl", "sd2-v", "sd2-eps")


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, comfyui_path, comfyui_folder, tmp_path_factory):
    """The family's name, its models in ComfyUI, and the independent implementation."""
    from textual_inversion.tests.host import loaded_models, tiny_families
    from textual_inversion.tests.host.independent_families import IndependentFamily

    path = tmp_path_factory.mktemp(request.param) / "tiny.safetensors"
    if request.param == "sdxl":
        written = tiny_families.write_sdxl(path)
    else:
        written = tiny_families.write_sd2(path, velocity=request.param == "sd2-v")
    models = loaded_models.load_file(path, te_model_options=written.options)
    path.unlink()
    prediction = "v_prediction" if request.param == "sd2-v" else "epsilon"
    tokenizer = comfyui_folder / "comfy" / "sd1_tokenizer"
    yield request.param, models, IndependentFamily(written, tokenizer, prediction)


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def draws(batch: int):
    """Latents, noise, timesteps, and frames of pictures that were cut in different ways."""
    from textual_inversion.training.pictures import Frame

    frames = [Frame(512 + 64 * n, 768 - 32 * n, 3 * n, 5 * n, 64, 64) for n in range(batch)]
    latents, noise = random(batch, 4, 8, 8, seed=10), random(batch, 4, 8, 8, seed=11)
    return latents, noise, torch.tensor(TIMESTEPS[:batch]), frames


def word(models, count: int) -> dict[str, torch.Tensor]:
    from textual_inversion.host.families import identify

    widths = {"clip_l": 768, "clip_g": 1280, "clip_h": 1024}
    keys = identify(models.model, models.clip).encoder_keys
    return {key: 0.0139 * random(count, widths[key], seed=count) for key in keys}


def ours(models, vectors, prompts, latents, noise, timesteps, frames):
    """Loss and gradients through ComfyUI's models, from inside inference mode as in a graph."""
    from textual_inversion.host.borrow import borrow
    from textual_inversion.host.denoiser import ModelDenoiser
    from textual_inversion.host.text_encoder import ClipTextEncoder
    from textual_inversion.training import losses

    models_lent = borrow(models.model, models.clip, batch_size=len(prompts), latent_area=64)
    with torch.inference_mode(), models_lent as lent:
        encoder, denoiser = ClipTextEncoder(lent.clip, *vectors), ModelDenoiser(lent)
        leaves = {key: each.clone().requires_grad_(True) for key, each in vectors.items()}
        count = next(iter(vectors.values())).shape[0]
        rows = [encoder.tokenize(prompt, count) for prompt in prompts]
        sigmas = denoiser.sigmas[timesteps]
        noisy = denoiser.add_noise(latents, noise, sigmas)
        denoised = denoiser.denoise(noisy, sigmas, encoder.encode(rows, leaves), frames)
        rest = losses.residual(denoised, latents, sigmas, denoiser.prediction)
        loss = losses.penalty(rest, "l2", 0.1).mean()
        return loss.detach(), gradients(loss, leaves)


def gradients(loss, leaves) -> dict[str, torch.Tensor]:
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


def expected(independent, vectors, prompts, latents, noise, timesteps, frames):
    leaves = {key: each.clone().requires_grad_(True) for key, each in vectors.items()}
    loss = independent.loss(prompts, leaves, latents, noise, timesteps, frames)
    return loss.detach(), gradients(loss, leaves)


@pytest.mark.parametrize(("count", "batch"), [(1, 1), (3, 4)])
def test_loss_and_gradients_equal_an_independent_implementation(family, count, batch):
    name, models, independent = family
    vectors, given = word(models, count), draws(batch)
    known, known_gradients = expected(independent, vectors, PROMPTS[:batch], *given)
    loss, found = ours(models, vectors, PROMPTS[:batch], *given)
    loss_error = ((loss - known) / known).abs().item()
    print(f"{name}, vectors {count}, batch {batch}: loss {loss_error:.1e}")
    assert loss_error < 1e-4
    for key, gradient in found.items():
        norm = known_gradients[key].norm()
        error = ((gradient - known_gradients[key]).norm() / norm).item()
        print(f"  {key}: gradient {error:.1e}")
        assert norm > 0 and error < 1e-4


def test_sizes_and_pooled_output_reach_the_network(family):
    """What only SDXL reads changes its loss, and nothing about SD2's."""
    name, models, _ = family
    vectors, (*given, frames) = word(models, 1), draws(2)
    loss, _ = ours(models, vectors, PROMPTS[:2], *given, frames)
    other, _ = ours(models, vectors, PROMPTS[:2], *given, ())
    assert torch.equal(loss, other) == (name != "sdxl")


def test_a_wrong_prompt_would_be_noticed(family):
    _, models, independent = family
    vectors, given = word(models, 1), draws(1)
    _, known = expected(independent, vectors, ["a photo of {}"], *given)
    _, found = ours(models, vectors, ["a photo of a {}"], *given)
    for key, gradient in found.items():
        assert (gradient - known[key]).norm() / known[key].norm() > 1e-3


@pytest.fixture
def trained(family, tmp_path, monkeypatch):
    """``trained(**knobs)`` runs two steps and gives what is in the file, and the initial rows."""
    from textual_inversion.host.text_encoder import ClipTextEncoder
    from textual_inversion.nodes import training_previews
    from textual_inversion.nodes.training_run import TrainingRequest, TrainingRun
    from textual_inversion.tests.host.loaded_models import pictures
    from textual_inversion.training.recipe import Recipe

    _, models, _ = family
    monkeypatch.setattr(training_previews, "FULL_STEPS", 2)

    def run(**knobs):
        settings = {"steps": 2, "batch_size": 2, "probe_size": 2, "preview_every": 0}
        settings["keep"] = "last"
        request = TrainingRequest(
            model=models.model,
            clip=models.clip,
            vae=models.vae,
            images=[pictures(2)],
            captions=(),
            name="word",
            initializer_text="star",
            recipe=Recipe(**(settings | knobs)),
            overwrite=True,
            folder=tmp_path,
        )
        with torch.inference_mode():
            TrainingRun(request).execute()
            rows = ClipTextEncoder(models.clip, *word(models, 1)).token_vectors("star")
        return safetensors.torch.load_file(tmp_path / "word.safetensors"), rows

    return run


def turned(learnt: torch.Tensor, initial: torch.Tensor) -> bool:
    return torch.nn.functional.cosine_similarity(learnt, initial).item() < 0.99999


def test_a_run_learns_and_saves_vectors_for_every_encoder(family, trained):
    name, _models, _ = family
    stored, initial = trained(learning_rate=0.1)
    if name == "sdxl":
        assert {key: tuple(rows.shape) for key, rows in stored.items()} == {
            "clip_l": (1, 768),
            "clip_g": (1, 1280),
        }
        assert all(turned(rows, initial[key]) for key, rows in stored.items())
    else:
        assert {key: tuple(rows.shape) for key, rows in stored.items()} == {"emb_params": (1, 1024)}
        assert turned(stored["emb_params"], initial["clip_h"])


def test_one_encoder_alone_may_learn(family, trained):
    from textual_inversion.training.trainer import TrainingError

    name, _, _ = family
    if name != "sdxl":
        with pytest.raises(TrainingError, match=r"clip_g.*clip_h"):
            trained(encoders="clip_g")
        return
    stored, initial = trained(encoders="clip_g", learning_rate=0.1)
    assert turned(stored["clip_g"], initial["clip_g"])
    assert not turned(stored["clip_l"], initial["clip_l"])
