"""A Stable Diffusion 1.5 checkpoint of the microworld's shapes with random weights.

Made with whichever ComfyUI is on sys.path; the text encoder's unused layers are identities, as
in the microworld, and everything is scaled so that activations stay of ordinary size.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

UNET_CONFIG = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1],
    "channel_mult": [1],
    "transformer_depth": [1],
    "transformer_depth_output": [1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "num_heads": 8,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "legacy": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
}


def write(path: Path, *, seed: int = 0, live_layers: int = 12) -> Path:
    """Write the checkpoint in half precision, ``live_layers`` text layers being no identity."""
    import comfy.ops
    import comfy.sd1_clip
    import comfy.taesd.taesd
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    generator = torch.Generator().manual_seed(seed)
    unet = UNetModel(
        **UNET_CONFIG, dtype=torch.float32, device="cpu", operations=comfy.ops.manual_cast
    )
    clip = comfy.sd1_clip.SD1ClipModel(dtype=torch.float32).clip_l.transformer
    vae = comfy.taesd.taesd.TAESD()
    state = {}
    for prefix, module in (
        ("model.diffusion_model.", unet),
        ("cond_stage_model.transformer.", clip),
        ("first_stage_model.", vae),
    ):
        state |= {prefix + name: t for name, t in randomised(module, generator).items()}
    for name, tensor in state.items():
        if ".encoder.layers." in name:
            layer = int(name.split(".encoder.layers.")[1].split(".")[0])
            if layer >= live_layers and ("out_proj" in name or "fc2" in name):
                tensor.zero_()
    state.pop("cond_stage_model.transformer.text_projection.weight", None)
    save_file({name: tensor.half().contiguous() for name, tensor in state.items()}, path)
    return path


def randomised(module: torch.nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Random weights for a module, scaled so that activations stay of ordinary size."""
    return {name: _random(name, t, generator) for name, t in module.state_dict().items()}


def _random(name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if tensor.ndim == 0:
        return tensor.clone()
    noise = torch.randn(tensor.shape, generator=generator)
    if "token_embedding" in name:
        return noise * 0.0139
    if "position_embedding" in name:
        return noise * 0.01
    if tensor.ndim == 1:
        return noise * 0.05 + (1.0 if name.endswith("weight") else 0.0)
    return noise * (0.7 / tensor[0].numel() ** 0.5)
