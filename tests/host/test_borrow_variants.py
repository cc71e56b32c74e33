"""Patched, half-precision, fp8 and partly loaded models: gradients pass, and are the right ones."""

from __future__ import annotations

import pytest
import torch

from textual_inversion.tests.host.test_borrow import context_gradient, lend, state

KEY = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
TEXT_KEY = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.weight"


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("variants"))


@pytest.fixture
def gradient(models):
    with torch.inference_mode(), lend(models) as lent:
        return context_gradient(lent)


def loaded(models, dtype):
    """The same UNet with its weights kept in another number format."""
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load_file(models.path, model_options={"dtype": dtype})


def change_of(owner, key: str) -> torch.Tensor:
    from comfy.utils import get_attr

    weight = get_attr(owner, key).detach()
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4))
    return noise * weight.float().std() * 0.5


@torch.no_grad()
def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def test_blocks_computed_twice_give_the_same_gradient_and_come_back(models, gradient):
    known = state(models)
    with torch.inference_mode(), lend(models) as lent:
        assert lent.save_memory()
        saving = context_gradient(lent)
        assert error(saving, gradient) < 1e-5
        with lent.pause():
            pass
        assert torch.equal(context_gradient(lent), saving)
        assert not lent.save_memory()
    assert state(models) == known
    blocks = [each for each in models.model.model.modules() if "forward" in vars(each)]
    assert not blocks


def test_blocks_computed_twice_keep_less(models):
    def kept(saving: bool) -> int:
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        from textual_inversion.host.denoiser import ModelDenoiser
        from textual_inversion.training.protocols import TextContext

        with torch.inference_mode(), lend(models) as lent:
            if saving:
                lent.save_memory()
            denoiser = ModelDenoiser(lent)
            context = torch.full((1, 77, 768), 0.1, requires_grad=True)
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                denoiser.denoise(
                    torch.ones(1, 4, 8, 8), denoiser.sigmas[[500]], TextContext(context, None)
                )
        return sum(sizes)

    assert kept(True) < 0.3 * kept(False)


def test_a_patched_model_is_trained_through_its_patch(models, gradient):
    plain, clip = models.model, models.clip
    change, text_change = change_of(plain.model, KEY), change_of(clip.patcher.model, TEXT_KEY)
    try:
        models.model, models.clip = plain.clone(), clip.clone()
        models.model.add_patches({KEY: ("diff", (change,))}, 1.0)
        models.clip.add_patches({TEXT_KEY: ("diff", (text_change,))}, 1.0)
        with torch.inference_mode(), lend(models) as lent:
            patched = context_gradient(lent)
        assert error(patched, gradient) > 1e-2
        models.model, models.clip = plain, clip
        with torch.inference_mode(), lend(models) as lent:
            assert torch.equal(context_gradient(lent), gradient)
            weights = [
                (lent.network.get_submodule(KEY.rpartition(".")[0]).weight, change),
                (lent.text_model.get_submodule(TEXT_KEY.rpartition(".")[0]).weight, text_change),
            ]
            with torch.no_grad():
                for weight, difference in weights:
                    weight += difference.to(weight.dtype)
            by_hand = context_gradient(lent)
            with torch.no_grad():
                for weight, difference in weights:
                    weight -= difference.to(weight.dtype)
        assert error(patched, by_hand) < 1e-2
    finally:
        models.model, models.clip = plain, clip


@pytest.mark.parametrize(
    ("dtype", "most"), [("float16", 1e-5), ("bfloat16", 0.1), ("float8_e4m3fn", 0.6)]
)
def test_weights_in_fewer_bits_are_trained_through(models, gradient, dtype, most):
    small = loaded(models, getattr(torch, dtype))
    assert small.model.model.get_dtype() == getattr(torch, dtype)
    with torch.inference_mode():
        known = state(small)
        with lend(small) as lent:
            found = context_gradient(lent)
        assert state(small) == known
    assert found.isfinite().all() and 0 <= error(found, gradient) < most


def test_a_partly_loaded_model_is_trained_whole(models, gradient):
    patcher = models.model
    with torch.inference_mode():
        patcher.detach()
        patcher.load(patcher.load_device, lowvram_model_memory=1)
        assert patcher.model.model_lowvram
        with lend(models) as lent:
            found = context_gradient(lent)
        assert torch.equal(found, gradient)


def test_weights_that_stay_elsewhere_are_noticed(models, monkeypatch):
    from comfy import model_management

    from textual_inversion.host import lendable
    from textual_inversion.host.families import UnsupportedModelError

    assert lendable.is_whole(models.model)
    monkeypatch.setattr(models.model, "load_device", torch.device("meta"))
    assert not lendable.is_whole(models.model)
    monkeypatch.setattr(model_management, "STREAM_CAST_BUFFERS", {}, raising=False)
    monkeypatch.setattr(model_management, "NUM_STREAMS", 2, raising=False)
    with pytest.raises(UnsupportedModelError, match="--disable-async-offload"):
        lendable.check_offloading(models.model)
    monkeypatch.setattr(model_management, "NUM_STREAMS", 0)
    lendable.check_offloading(models.model)


def test_paged_weights_that_cannot_be_loaded_plainly_are_refused(models):
    from textual_inversion.host.families import UnsupportedModelError
    from textual_inversion.host.lendable import without_dynamic_memory

    class Paged:
        def is_dynamic(self):
            return True

        def clone(self, disable_dynamic):
            raise RuntimeError("cached_patcher_init is not initialized")

    with pytest.raises(UnsupportedModelError, match="--disable-dynamic-vram"):
        without_dynamic_memory(Paged())
    assert without_dynamic_memory(models.model) is models.model
