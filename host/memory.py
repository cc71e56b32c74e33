"""How much memory a training step needs beside the weights, told to the host's management."""

from __future__ import annotations

from typing import Any

import torch

KEPT_PER_LATENT_VALUE = {768: 16_100, 1024: 16_100, 2048: 31_500}
"""Numbers that UNets keep for the backward pass, for each number of the latents.

By the width of their context: SD 1.5, SD 2 and SDXL, counted with fused attention
(`benchmarks/activation_memory.py`).
"""
SPARE = 1.49
"""Gradients on their way back and the layers' own room, over what is kept."""
UNFUSED = 3.4
"""How much more is kept where attention keeps its scores, measured on SD 1.5 at 64x64."""
KEPT_PER_TEXT_VALUE = 21
"""Numbers that a text layer keeps for each of its tokens' channels."""
WINDOW = 77


def training_memory(model: Any, clip: Any, batch_size: int, latent_area: int) -> int:
    """Bytes that a step with ``batch_size`` latents of ``latent_area`` places needs.

    What the diffusion network and the text encoders keep for the backward pass, and the text
    encoders' weights in full precision.
    """
    network = model.model
    size = torch.empty((), dtype=network.get_dtype()).element_size()
    config = getattr(network.model_config, "unet_config", {})
    most = max(KEPT_PER_LATENT_VALUE.values())
    kept = KEPT_PER_LATENT_VALUE.get(config.get("context_dim"), most)
    kept *= network.latent_format.latent_channels * latent_area * size * SPARE
    if model.load_device.type not in ("cuda", "cpu"):
        kept *= UNFUSED
    text = clip.patcher.model
    return int(batch_size * (kept + _kept_for_a_prompt(text))) + float32_bytes(text)


def float32_bytes(root: torch.nn.Module) -> int:
    """The size of a module's weights in full precision."""
    return 4 * sum(parameter.numel() for parameter in root.parameters())


def _kept_for_a_prompt(text: torch.nn.Module) -> int:
    norms = (getattr(layer, "layer_norm1", None) for layer in text.modules())
    channels = sum(each.weight.numel() for each in norms if isinstance(each, torch.nn.Module))
    return 4 * KEPT_PER_TEXT_VALUE * WINDOW * channels
