"""Narrow networks in the place of wide ones inside ComfyUI's loaded models, for measuring fast.

The wide checkpoint is the narrow networks and zeros. Put back in their own width they compute the
same function many times faster, and everything around them stays ComfyUI's and the pack's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from . import archive, networks


class NarrowEncoder(nn.Module):
    """Stands for the layers of CLIP-L: [n, 77, 768] -> the same, as the wide layers would.

    Channels beyond the live ones pass through unchanged and count in the layer norms' statistics,
    so that vectors may be learnt in all 768 dimensions.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(
        self, x: Tensor, mask: Tensor | None = None, intermediate_output: Any = None
    ) -> tuple[Tensor, None]:
        if intermediate_output is not None:
            raise ValueError("The narrow text encoder has no intermediate output.")
        live, beyond = x.float().split([networks.TEXT_WIDTH, x.shape[-1] - networks.TEXT_WIDTH], -1)
        sums = beyond.sum(-1, keepdim=True), beyond.square().sum(-1, keepdim=True)
        for layer in self.layers:
            live = layer(live, mask, sums)
        return torch.cat([live, beyond], -1), None


class NarrowUNet(nn.Module):
    """Stands for ComfyUI's UNetModel."""

    dtype = torch.float32

    def __init__(self, unet: networks.UNet) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor, **_: Any) -> Tensor:
        return self.unet(x, timesteps, context[..., : networks.TEXT_WIDTH])


def narrow(model: Any, clip: Any) -> None:
    """Replaces the networks of a MODEL and CLIP that were loaded from the shipped world."""
    weights = archive.unpack()
    text = networks.TextEncoder(weights["text.token_embedding.weight"].shape[0])
    unet = networks.UNet()
    for prefix, network in (("text.", text), ("unet.", unet)):
        own = {n: t.half().float() for n, t in weights.items() if n.startswith(prefix)}
        network.load_state_dict({n.removeprefix(prefix): t for n, t in own.items()})
        network.eval().requires_grad_(False)
    clip.cond_stage_model.clip_l.transformer.text_model.encoder = NarrowEncoder(text.layers)
    model.model.diffusion_model = NarrowUNet(unet)
