"""GEGLU layers keep their projection alone, and the gradient is the very same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

WIDTH, INNER = 6, 10


def layer(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """One of ComfyUI's, frozen."""
    import comfy.ldm.modules.attention as attention
    import comfy.ops

    torch.manual_seed(0)
    made = attention.GEGLU(WIDTH, INNER, dtype, operations=comfy.ops.disable_weight_init)
    torch.nn.Linear.reset_parameters(made.proj)
    return made.requires_grad_(False)


def given(dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(2, 9, WIDTH, generator=torch.Generator().manual_seed(1))
    return values.to(dtype).requires_grad_(True)


def passed(made: torch.nn.Module, x: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """Result, gradient, and the widths of what is kept meanwhile beside weights."""
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        if tensor.dim() == x.dim():
            kept.append(tensor.shape[-1])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = made(x)
    direction = torch.randn(result.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(result, x, direction.to(result.dtype))
    return result.detach(), gradient, kept


def thrifty(made: torch.nn.Module):
    from textual_inversion.host.gated_gelu import thrifty_gelus

    return thrifty_gelus(made)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_gradient_is_the_same_and_only_the_projection_is_kept(comfyui_path, dtype):
    made = layer(dtype)
    plain = passed(made, given(dtype))
    with thrifty(made):
        lean = passed(made, given(dtype))
    assert torch.equal(plain[0], lean[0]) and torch.equal(plain[1], lean[1])
    assert sorted(plain[2]) == [INNER] * 3 and lean[2] == [2 * INNER]


def test_a_pass_without_gradient_is_the_plain_one(comfyui_path):
    made = layer()
    with thrifty(made):
        with torch.no_grad():
            assert made(given()).grad_fn is None
        assert not made(given().detach()).requires_grad


def test_it_works_in_a_block_that_is_computed_twice(comfyui_path):
    made = layer()
    plain = passed(made, given())
    with thrifty(made):
        x = given()
        result = torch.utils.checkpoint.checkpoint(made, x, use_reentrant=False)
        direction = torch.randn(result.shape, generator=torch.Generator().manual_seed(2))
        (gradient,) = torch.autograd.grad(result, x, direction)
    assert torch.equal(plain[1], gradient)


def test_layers_are_put_back_and_changed_ones_left_alone(comfyui_path):
    made, changed = layer(), layer()
    changed.forward = own = lambda x: x
    both = torch.nn.ModuleList([made, changed])
    with pytest.raises(KeyError), thrifty(both):
        assert "forward" in vars(made) and changed.forward is own
        raise KeyError
    assert "forward" not in vars(made) and changed.forward is own
