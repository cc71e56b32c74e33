"""The gradient is right: it equals that of an independent implementation, to 1e-4 in float32."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers", reason="needs diffusers; run: python3 dev.py test")

PROMPTS = ("a photo of {}", "{} on the left of a red table", "{}", "a good look at {}, at night")
TIMESTEPS = (850, 300, 40, 600)


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("gradients"))


@pytest.fixture(scope="module")
def independent(models, comfyui_folder):
    from textual_inversion.tests.host.independent import Independent

    return Independent(models.path, comfyui_folder / "comfy" / "sd1_tokenizer")


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ours(models, vectors, prompts, latents, noise, timesteps):
    """Loss and gradient through ComfyUI's models, from inside inference mode as in a graph."""
    from textual_inversion.host.borrow import borrow
    from textual_inversion.host.denoiser import ModelDenoiser
    from textual_inversion.host.text_encoder import ClipTextEncoder
    from textual_inversion.training import losses

    models_lent = borrow(models.model, models.clip, batch_size=len(prompts), latent_area=64)
    with torch.inference_mode(), models_lent as lent:
        encoder, denoiser = ClipTextEncoder(lent.clip, "clip_l"), ModelDenoiser(lent)
        leaf = vectors.clone().requires_grad_(True)
        rows = [encoder.tokenize(prompt, vectors.shape[0]) for prompt in prompts]
        sigmas = denoiser.sigmas[timesteps]
        noisy = denoiser.add_noise(latents, noise, sigmas)
        denoised = denoiser.denoise(noisy, sigmas, encoder.encode(rows, {"clip_l": leaf}))
        rest = losses.residual(denoised, latents, sigmas, denoiser.prediction)
        loss = losses.penalty(rest, "l2", 0.1).mean()
        (gradient,) = torch.autograd.grad(loss, leaf)
        return loss.detach(), gradient


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [1, 4])
def test_loss_and_gradient_equal_an_independent_implementation(models, independent, count, batch):
    vectors = 0.0139 * random(count, 768, seed=count)
    latents, noise = random(batch, 4, 8, 8, seed=10), random(batch, 4, 8, 8, seed=11)
    timesteps = torch.tensor(TIMESTEPS[:batch])
    prompts = PROMPTS[:batch]
    leaf = vectors.clone().requires_grad_(True)
    expected = independent.loss(prompts, leaf, latents, noise, timesteps)
    (expected_gradient,) = torch.autograd.grad(expected, leaf)
    loss, gradient = ours(models, vectors, prompts, latents, noise, timesteps)
    loss_error = ((loss - expected) / expected).abs().item()
    error = ((gradient - expected_gradient).norm() / expected_gradient.norm()).item()
    print(f"vectors {count}, batch {batch}: loss {loss_error:.1e}, gradient {error:.1e}")
    assert loss_error < 1e-4 and error < 1e-4
    assert expected_gradient.norm() > 0


def test_a_wrong_prompt_would_be_noticed(models, independent):
    vectors = 0.0139 * random(1, 768, seed=1)
    latents, noise = random(1, 4, 8, 8, seed=10), random(1, 4, 8, 8, seed=11)
    timesteps = torch.tensor([600])
    leaf = vectors.clone().requires_grad_(True)
    expected = independent.loss(["a photo of {}"], leaf, latents, noise, timesteps)
    (expected_gradient,) = torch.autograd.grad(expected, leaf)
    _, gradient = ours(models, vectors, ["a photo of a {}"], latents, noise, timesteps)
    assert (gradient - expected_gradient).norm() / expected_gradient.norm() > 1e-3
