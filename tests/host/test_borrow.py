"""Borrowed models pass gradients, and come back bit for bit as they were, whatever happens."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("borrow"))


def lend(models, **changes):
    from textual_inversion.host.borrow import borrow

    return borrow(models.model, models.clip, **({"batch_size": 1, "latent_area": 64} | changes))


def context_gradient(lent, rows: int = 1) -> torch.Tensor:
    """One forward and backward pass through both models."""
    from textual_inversion.host.denoiser import ModelDenoiser
    from textual_inversion.host.text_encoder import ClipTextEncoder

    encoder, denoiser = ClipTextEncoder(lent.clip, "clip_l"), ModelDenoiser(lent)
    leaf = torch.full((1, 768), 0.01, requires_grad=True)
    text = encoder.encode([encoder.tokenize("a photo of {}", 1)] * rows, {"clip_l": leaf})
    noisy = torch.ones(rows, 4, 8, 8)
    denoised = denoiser.denoise(noisy, denoiser.sigmas[[500] * rows], text)
    return torch.autograd.grad(denoised.square().sum(), leaf)[0]


def state(models) -> dict:
    """Everything about the models' modules that lending could disturb."""
    from comfy import model_management

    found = {"in_training": getattr(model_management, "in_training", None)}
    for name, root in (("model", models.model.model), ("clip", models.clip.patcher.model)):
        for path, tensor in [*root.named_parameters(), *root.named_buffers()]:
            found[name, path] = (
                id(tensor),
                tensor.data_ptr(),
                tensor.dtype,
                tensor.requires_grad,
                tensor.is_inference(),
                type(tensor),
            )
        hooks = [
            (path, len(module._forward_pre_hooks), len(module._forward_hooks))
            for path, module in root.named_modules()
        ]
        found[name, "hooks"] = hooks
        methods = {"forward", "_conv_forward"}
        found[name, "methods"] = [
            (path, sorted(methods & vars(module).keys())) for path, module in root.named_modules()
        ]
        found[name, "training"] = [module.training for module in root.modules()]
    found["options"] = repr(models.model.model_options)
    return found


class StopError(Exception):
    pass


def finishing(models) -> None:
    with lend(models) as lent:
        assert context_gradient(lent).abs().sum() > 0


def failing(models) -> None:
    with pytest.raises(StopError), lend(models) as lent:
        context_gradient(lent)
        raise StopError


def cancelled(models) -> None:
    from comfy import model_management

    with pytest.raises(model_management.InterruptProcessingException), lend(models) as lent:
        context_gradient(lent)
        model_management.interrupt_current_processing(True)
        context_gradient(lent)


def paused(models) -> None:
    with lend(models) as lent:
        before = context_gradient(lent)
        with lent.pause():
            assert torch.is_inference_mode_enabled()
            models.sample(steps=1)
        assert torch.equal(context_gradient(lent), before)


def out_of_memory(models) -> None:
    with pytest.raises(torch.OutOfMemoryError), lend(models) as lent:
        context_gradient(lent)
        raise torch.OutOfMemoryError


@pytest.mark.parametrize("use", [finishing, failing, cancelled, paused, out_of_memory])
def test_pictures_and_every_tensor_are_the_same_before_and_after(models, use):
    before, known = models.sample(), state(models)
    with torch.inference_mode():
        use(models)
        assert torch.is_inference_mode_enabled()
    assert state(models) == known
    assert torch.equal(models.sample(), before)


def test_it_works_twice_in_a_row_with_the_same_gradient(models):
    with torch.inference_mode():
        models.sample(steps=1)
        with lend(models) as lent:
            first = context_gradient(lent)
        with lend(models) as lent:
            assert torch.equal(context_gradient(lent), first)


def test_inside_nothing_of_the_models_requires_grad(models):
    from comfy import model_management

    with torch.inference_mode(), lend(models) as lent:
        tensors = [*lent.network.parameters(), *lent.text_model.parameters()]
        assert not any(tensor.requires_grad for tensor in tensors)
        assert not any(tensor.is_inference() for tensor in tensors)
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()
        assert getattr(model_management, "in_training", True) is True


def test_inference_tensors_are_aliased_not_copied(models):
    resident = models.model.model.diffusion_model
    known = {name: tensor.data_ptr() for name, tensor in resident.named_parameters()}
    assert any(tensor.is_inference() for tensor in resident.parameters())
    with torch.inference_mode(), lend(models):
        assert {name: t.data_ptr() for name, t in resident.named_parameters()} == known


def test_no_convolution_keeps_its_input(models):
    from textual_inversion.host.frozen_convolution import FrozenConvolution

    network = models.model.model.diffusion_model
    convolutions = [each for each in network.modules() if isinstance(each, torch.nn.Conv2d)]
    nodes = []
    with torch.inference_mode(), lend(models) as lent:
        hooks = [
            each.register_forward_hook(lambda _, __, output: nodes.append(output.grad_fn))
            for each in convolutions
        ]
        try:
            context_gradient(lent)
        finally:
            for hook in hooks:
                hook.remove()
    assert len(nodes) == len(convolutions)
    differentiated = [type(node).__name__ for node in nodes if node is not None]
    assert len(differentiated) > 0.8 * len(nodes)
    assert set(differentiated) == {f"{FrozenConvolution.__name__}Backward"}


def test_nothing_before_the_first_cross_attention_is_differentiated(models):
    network = models.model.model.diffusion_model
    block = network.input_blocks[1][1].transformer_blocks[0]
    seen = {}

    def watch(name):
        def note(module, inputs, output):
            seen.setdefault(name, output.requires_grad)

        return note

    watched = {
        "conv_in": network.input_blocks[0][0],
        "first resnet": network.input_blocks[1][0],
        "self-attention": block.attn1,
        "query": block.attn2.to_q,
        "cross-attention": block.attn2,
    }
    hooks = [module.register_forward_hook(watch(name)) for name, module in watched.items()]
    try:
        with torch.inference_mode(), lend(models) as lent:
            context_gradient(lent)
    finally:
        for hook in hooks:
            hook.remove()
    assert seen.pop("cross-attention") is True
    assert set(seen.values()) == {False} and len(seen) == 4


def test_attention_that_cannot_be_trained_through_is_overridden(models):
    def opaque(function, *arguments, **options):
        return function(*arguments, **options).detach()

    plain = models.model
    models.model = plain.clone()
    options = models.model.model_options["transformer_options"]
    options["optimized_attention_override"] = opaque
    try:
        with torch.inference_mode():
            with lend(models) as lent:
                found = context_gradient(lent)
            assert options["optimized_attention_override"] is opaque
            models.model = plain
            with lend(models) as lent:
                assert torch.equal(context_gradient(lent), found)
    finally:
        models.model = plain


def test_memory_is_asked_of_comfyui_for_both_models_at_once(models, monkeypatch):
    from comfy import model_management

    asked = []
    original = model_management.load_models_gpu

    def load(patchers, memory_required=0, **options):
        asked.append((list(patchers), memory_required))
        return original(patchers, memory_required=memory_required, **options)

    monkeypatch.setattr(model_management, "load_models_gpu", load)
    with torch.inference_mode():
        for batch, area in ((1, 64), (4, 64), (4, 4096)):
            with lend(models, batch_size=batch, latent_area=area):
                pass
    assert [set(patchers) for patchers, _ in asked] == [{models.model, models.clip.patcher}] * 3
    small, batch, large = (amount for _, amount in asked)
    weights = 4 * sum(each.numel() for each in models.clip.patcher.model.parameters())
    assert 2**25 < small - weights < batch - weights < large - weights < 2**36
    assert batch - weights == pytest.approx(4 * (small - weights), rel=0.01)


def test_a_network_computes_in_bfloat16_and_comes_back(models, monkeypatch):
    from textual_inversion.host import borrow

    known = state(models)
    with torch.inference_mode():
        with lend(models) as lent:
            exact = context_gradient(lent)
        monkeypatch.setattr(borrow, "best_dtype", lambda *_: torch.bfloat16)
        with lend(models) as lent:
            assert lent.network.get_dtype() == torch.bfloat16
            rough = context_gradient(lent)
    assert state(models) == known
    assert not torch.equal(rough, exact)
    assert torch.cosine_similarity(rough, exact).item() > 0.99


@pytest.mark.parametrize(
    ("product", "seconds", "chosen"),
    [
        (8.0, (2.1, 1.0), torch.bfloat16),
        (8.0, (1.9, 1.0), torch.float32),
        (1.9, (), torch.float32),  # no step is measured
    ],
)
def test_bfloat16_must_be_twice_as_fast_on_a_cpu(models, monkeypatch, product, seconds, chosen):
    from textual_inversion.host import precision

    if models.model.load_device.type != "cpu":
        pytest.skip("the choice is a CPU's")
    if models.model.model.get_dtype() != torch.float32:
        pytest.skip("this host's CPU models aren't in float32")
    monkeypatch.setattr(precision, "_chosen", {})
    monkeypatch.setattr(precision, "computes_bfloat16", lambda: True)
    assert precision.best_dtype(models.model, 64, {}) == torch.float32  # a small network
    monkeypatch.setattr(precision, "LARGE", 1)
    monkeypatch.setattr(precision, "_products_faster", lambda: product)
    times = dict(zip((torch.float32, torch.bfloat16), seconds, strict=bool(seconds)))
    monkeypatch.setattr(
        precision, "_step_seconds", lambda model, *_: times[model.model.get_dtype()]
    )
    assert precision.best_dtype(models.model, 64, {}) == chosen
    monkeypatch.undo()
    assert precision._products_faster() > 0
    with torch.inference_mode(), lend(models) as lent:
        assert precision._step_seconds(lent.model, 64, lent.transformer_options) > 0


def test_a_compiled_network_has_the_same_gradient(models):
    from textual_inversion.host.compiled import compiled_network

    told = []
    known = state(models)
    with torch.inference_mode(), lend(models) as lent:
        plain = context_gradient(lent)
        network = lent.network.diffusion_model
        with compiled_network(network, told.append, backend="eager"):
            assert torch.allclose(context_gradient(lent), plain, rtol=1e-4, atol=1e-7)
    assert told == []
    assert state(models) == known


def test_a_network_that_cannot_be_compiled_is_used_as_it_is(models, monkeypatch):
    def fails(forward, **_):
        def compiled(*arguments, **options):
            raise RuntimeError("no compiler was found.\nand more")

        return compiled

    told = []
    with torch.inference_mode(), lend(models) as lent:
        plain = context_gradient(lent)
        monkeypatch.setattr(torch, "compile", fails)
        lent.compile(told.append)
        assert torch.equal(context_gradient(lent), plain)
        with lent.pause():
            pass
        assert torch.equal(context_gradient(lent), plain)
    assert len(told) == 1
    assert "RuntimeError: no compiler was found" in told[0]
    assert "\n" not in told[0]
