"""SDXL and Stable Diffusion 2 checkpoints of random weights, small enough for a test.

ComfyUI recognises a family by the shapes in the file, so those stay: the width of the first
block, of the context and of the vector, and the number of transformer blocks. Everything else is
as small as it goes, and the text encoders have three thin layers, which is passed to the loader
as the host's own ``te_model_options``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from textual_inversion.tests.host.tiny_checkpoint import randomised

LAYERS, THIN = 3, 64
SHARED = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_heads": -1,
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "legacy": False,
    "use_temporal_attention": False,
}
SDXL_UNET = {
    **SHARED,
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 1, 1],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 0, 0, 0],
    "transformer_depth_middle": 10,
    "context_dim": 2048,
    "adm_in_channels": 2816,
    "num_classes": "sequential",
}
SD2_UNET = {
    **SHARED,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 1, 1, 1],
    "transformer_depth": [1, 1, 0, 0, 0, 0, 0, 0],
    "transformer_depth_output": [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    "transformer_depth_middle": -1,
    "context_dim": 1024,
    "adm_in_channels": None,
}
VELOCITY_MARK = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
"""Its spread tells ComfyUI whether a Stable Diffusion 2 predicts v."""


@dataclasses.dataclass(frozen=True)
class Written:
    """A checkpoint, and the very same weights under the names they have inside ComfyUI."""

    path: Path
    unet: dict[str, torch.Tensor]
    text: dict[str, dict[str, torch.Tensor]]

    @property
    def options(self) -> dict[str, Any]:
        """What makes ComfyUI's loader expect these text encoders."""
        thin = {"num_hidden_layers": LAYERS, "intermediate_size": THIN}
        return {f"{key}_model_config": dict(thin) for key in self.text}


def write_sdxl(path: Path, *, seed: int = 0) -> Written:
    """An SDXL checkpoint with 115 million parameters in its UNet."""
    import comfy.sdxl_clip
    import comfy.supported_models

    return _write(
        path,
        SDXL_UNET,
        comfy.supported_models.SDXL,
        comfy.sdxl_clip.SDXLClipModel,
        ("clip_l", "clip_g"),
        torch.Generator().manual_seed(seed),
    )


def write_sd2(path: Path, *, velocity: bool, seed: int = 0) -> Written:
    """A Stable Diffusion 2 checkpoint that predicts v, or else the noise."""
    import comfy.supported_models
    import comfy.text_encoders.sd2_clip

    return _write(
        path,
        SD2_UNET,
        comfy.supported_models.SD20,
        comfy.text_encoders.sd2_clip.SD2ClipModel,
        ("clip_h",),
        torch.Generator().manual_seed(seed),
        {VELOCITY_MARK: 0.3 if velocity else 0.01},
    )


def _write(
    path: Path,
    config: dict[str, Any],
    family: Any,
    text_class: Any,
    keys: tuple[str, ...],
    generator: torch.Generator,
    spreads: dict[str, float] | None = None,
) -> Written:
    import comfy.ops
    import comfy.taesd.taesd
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    written = Written(path, {}, {key: {} for key in keys})
    network = UNetModel(
        **config, dtype=torch.float32, device="cpu", operations=comfy.ops.manual_cast
    )
    written.unet.update(randomised(network, generator))
    for name, spread in (spreads or {}).items():
        written.unet[name] = spread * torch.randn(written.unet[name].shape, generator=generator)
    inside = text_class(dtype=torch.float32, model_options=written.options)
    clip = {}
    for key in keys:
        encoder = getattr(inside, key).transformer
        written.text[key].update(randomised(encoder, generator))
        clip |= {f"{key}.transformer.{name}": t for name, t in written.text[key].items()}
    for part in (written.unet, *written.text.values()):
        part.update({name: tensor.half().float() for name, tensor in part.items()})
    state = {f"model.diffusion_model.{name}": tensor for name, tensor in written.unet.items()}
    vae = randomised(comfy.taesd.taesd.TAESD(), generator)
    state |= {f"first_stage_model.{name}": tensor for name, tensor in vae.items()}
    state |= family(config).process_clip_state_dict_for_saving(dict(clip))
    stored = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    save_file({name: tensor.contiguous().clone() for name, tensor in stored.items()}, path)
    return written
