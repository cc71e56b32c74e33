"""Frozen convolutions keep their weight alone, and the gradient is the very same."""

from __future__ import annotations

import types

import pytest
import torch
from torch import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SHAPES = {
    "3x3": dict(channels=(6, 4), kernel_size=3, padding=1),
    "1x1": dict(channels=(6, 4), kernel_size=1),
    "strided": dict(channels=(6, 4), kernel_size=3, padding=1, stride=2),
    "grouped, dilated": dict(channels=(6, 4), kernel_size=3, padding=2, dilation=2, groups=2),
    "wide": dict(channels=(64, 96), kernel_size=3, padding=1),
}


def convolution(channels=(6, 4), *, dtype=torch.float32, **options):
    """One of ComfyUI's, frozen."""
    import comfy.ops

    torch.manual_seed(0)
    made = comfy.ops.disable_weight_init.Conv2d(*channels, dtype=dtype, **options)
    torch.nn.Conv2d.reset_parameters(made)
    return made.requires_grad_(False)


def casting(channels=(6, 4), *, dtype=torch.float32, **options):
    """One that casts its weight in every pass, or does not where ``dtype`` is its own."""
    import comfy.ops

    torch.manual_seed(0)
    made = comfy.ops.manual_cast.Conv2d(*channels, dtype=torch.float16, **options)
    torch.nn.Conv2d.reset_parameters(made)
    return made.requires_grad_(False)


def patched(channels=(6, 4), *, dtype=torch.float32, **options):
    """As a LoRA that is applied on the way leaves it."""
    made = convolution(channels, dtype=dtype, **options)
    made.weight_function = [lambda weight: weight * 1.5]
    return made


def given(channels: int, dtype: torch.dtype = torch.float32, batch: int = 2) -> Tensor:
    values = torch.randn(batch, channels, 9, 9, generator=torch.Generator().manual_seed(1))
    return values.to(dtype).requires_grad_(True)


def passed(made: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor, list[torch.Size]]:
    """Result, gradient, and the shapes of what is kept meanwhile."""
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = made(x)
    direction = torch.randn(result.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(result, x, direction.to(result.dtype))
    return result.detach(), gradient, kept


def frozen(made: torch.nn.Module):
    from textual_inversion.host.frozen_convolution import frozen_convolutions

    return frozen_convolutions(made)


@pytest.mark.parametrize("kind", [convolution, casting, patched])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_the_same_and_no_input_is_kept(comfyui_path, kind, dtype, shape):
    made = kind(**SHAPES[shape], dtype=dtype)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = given(made.in_channels, dtype).detach().to(memory_format=layout).requires_grad_(True)
        result, gradient, kept = passed(made, x)
        assert x.shape in kept
        with frozen(made):
            less = passed(made, x)
        assert torch.equal(less[0], result) and less[0].stride() == result.stride()
        assert torch.equal(less[1], gradient) and less[1].stride() == gradient.stride()
        assert less[2] == [made.weight.shape]


def test_it_can_be_computed_twice(comfyui_path):
    from torch.utils.checkpoint import checkpoint

    made = torch.nn.Sequential(convolution((6, 6), kernel_size=1), casting(kernel_size=3))
    x = given(6)
    with frozen(made):
        _, found, kept = passed(lambda x: checkpoint(made, x, use_reentrant=False), x)
    assert made[1].weight.shape not in kept
    assert torch.equal(found, passed(made, x)[1])


def thawed(made):
    return made.requires_grad_(True)


def thawed_by_its_patch(made):
    made.weight_function = [lambda weight: weight * torch.ones(1, requires_grad=True)]
    return made


def circular(made):
    made.padding_mode = "circular"
    made._reversed_padding_repeated_twice = (1, 1, 1, 1)
    return made


def padded_by_name(made):
    made.padding = "same"
    return made


def tiling(made):
    """As nodes for seamless textures change it."""

    def forward(self, x, weight, bias):
        x = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular")
        return torch.nn.functional.conv2d(x, weight, bias)

    made._conv_forward = types.MethodType(forward, made)
    return made


@pytest.mark.parametrize("change", [thawed, thawed_by_its_patch, circular, padded_by_name, tiling])
def test_what_is_out_of_the_ordinary_stays_as_it_is(comfyui_path, change):
    made = change(convolution(kernel_size=3, padding=1))
    own, x = vars(made).get("_conv_forward"), given(6)
    plain = passed(made, x)
    with frozen(made):
        found = passed(made, x)
    assert torch.equal(found[0], plain[0]) and torch.equal(found[1], plain[1])
    assert found[2] == plain[2] != [made.weight.shape]
    assert vars(made).get("_conv_forward") is own


def test_without_gradients_under_autocast_and_compiled_it_is_plain(comfyui_path, monkeypatch):
    from textual_inversion.host import frozen_convolution

    made, x = convolution(kernel_size=3), given(6)
    compiled = torch.compile(made, backend="eager")
    plain = passed(made, x)[1]

    def fails(*arguments):
        raise AssertionError

    monkeypatch.setattr(frozen_convolution.FrozenConvolution, "apply", fails)
    with frozen(made):
        assert not made(x.detach()).requires_grad
        with torch.no_grad():
            made(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert made(x).dtype == torch.bfloat16
        assert torch.equal(passed(compiled, x)[1], plain)
        with pytest.raises(AssertionError):
            made(x)


def test_convolutions_come_back_after_a_failure(comfyui_path):
    made = torch.nn.Sequential(
        convolution(kernel_size=1), casting(kernel_size=1), torch.nn.Conv2d(4, 4, 1)
    )
    before = [list(vars(each)) for each in made]
    with pytest.raises(KeyError), frozen(made):
        assert all("_conv_forward" in vars(each) for each in made)
        raise KeyError
    assert [list(vars(each)) for each in made] == before
