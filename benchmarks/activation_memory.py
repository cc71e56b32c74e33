"""What a training step keeps for its backward pass, counted on full-size networks.

The networks are made on the meta device, so nothing is computed or held: every tensor that
autograd would save is counted once, in half precision, with attention that keeps its inputs,
its output and a row of sums, as fused kernels do.

    python -m benchmarks.activation_memory COMFYUI
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import torch

SD15 = {
    "model_channels": 320,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "num_heads": 8,
    "num_head_channels": -1,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
}
SD2 = SD15 | {
    "context_dim": 1024,
    "num_heads": -1,
    "num_head_channels": 64,
    "use_linear_in_transformer": True,
}
SDXL = SD2 | {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
}
SHARED = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
}
CASES = (("SD 1.5", SD15, 64), ("SD 2", SD2, 96), ("SDXL", SDXL, 64), ("SDXL", SDXL, 128))


class Fused(torch.autograd.Function):
    """Attention as far as memory is concerned; the counted pass has no way back."""

    @staticmethod
    def forward(ctx, q, k, v, heads):
        out = torch.empty_like(q)
        sums = torch.empty(q.shape[0], heads, q.shape[1], device=q.device)
        ctx.save_for_backward(q, k, v, out, sums)
        return out

    @staticmethod
    def backward(ctx, gradient):
        q, k, v, *_ = ctx.saved_tensors
        return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), None


def kept(config: dict[str, Any], side: int, *, saving: bool) -> int:
    """Bytes that one latent of ``side`` squared keeps."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import disable_weight_init

    from textual_inversion.host.frozen_convolution import frozen_convolutions
    from textual_inversion.host.gated_gelu import thrifty_gelus
    from textual_inversion.host.recompute import RECOMPUTED, recomputed_blocks

    half = torch.float16
    network = UNetModel(
        **SHARED, **config, dtype=half, device="meta", operations=disable_weight_init
    )
    network.requires_grad_(False)
    weights = {each.untyped_storage()._cdata for each in network.parameters()}
    sizes: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            sizes[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    def attention(_: Any, q: torch.Tensor, k: Any, v: Any, heads: int, *__: Any, **___: Any) -> Any:
        return Fused.apply(q, k, v, heads)

    def made(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=half, device="meta")

    context = made(1, 77, config["context_dim"]).requires_grad_(True)
    vector = None if config["adm_in_channels"] is None else made(1, config["adm_in_channels"])
    options = {"optimized_attention_override": attention}

    def keep_input(_: torch.nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        if output.requires_grad:
            pack(inputs[0])

    with contextlib.ExitStack() as stack:
        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        stack.enter_context(hooks)
        stack.enter_context(frozen_convolutions(network))
        stack.enter_context(thrifty_gelus(network))
        if saving:
            stack.enter_context(recomputed_blocks(network))
            for block in network.modules():
                if isinstance(block, RECOMPUTED):
                    block.register_forward_hook(keep_input)
        steps = torch.empty(1, device="meta")
        network(made(1, 4, side, side), steps, context, vector, None, options)
    return sum(sizes.values())


def main(arguments: Sequence[str]) -> int:
    """Print a table."""
    sys.path.insert(0, arguments[0])
    import types
    from pathlib import Path

    pack = types.ModuleType("textual_inversion")
    pack.__path__ = [str(Path(__file__).resolve().parents[1])]
    sys.modules.setdefault("textual_inversion", pack)
    from comfy.cli_args import args

    args.cpu = True
    print("network   latent    kept      a value   with blocks computed twice")
    for name, config, side in CASES:
        plain, saving = (kept(config, side, saving=each) for each in (False, True))
        values = 4 * side * side
        print(
            f"{name:8}  {side:3}x{side:<3}  {plain / 2**20:7.0f} MiB  {plain / values / 2:8.0f}"
            f"  {saving / 2**20:7.0f} MiB  {saving / values / 2:8.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
