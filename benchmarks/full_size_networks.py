"""Networks of real shapes for the steps at full size, with random weights held only once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .activation_memory import SD15, SDXL, SHARED

VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


@dataclass(frozen=True)
class Network:
    """A model family at its real size.

    ``sizes`` are the picture sides and batches measured; ``needed`` is the memory in GiB that
    the hungrier loop takes for them, weights included.
    """

    title: str
    family: str
    unet: Mapping[str, Any] = field(repr=False)
    sizes: tuple[tuple[int, int], ...] = ((256, 1),)
    needed: float = 10.0


NETWORKS = {
    "sd15": Network("SD 1.5", "SD15", SD15, ((256, 1), (512, 1), (256, 4)), 10.0),
    "sdxl": Network("SDXL", "SDXL", SDXL, ((256, 1),), 18.0),
}


def hollow_checkpoint(network: Network) -> dict[str, Tensor]:
    """The names, shapes and types of a checkpoint file in float16, with no memory behind them.

    Every tensor repeats one number, so that a loader can take its copy and nothing is held
    twice; :func:`fill` the loaded networks afterwards.
    """
    import comfy.ops
    import comfy.sd1_clip
    import comfy.sdxl_clip
    import comfy.supported_models
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    operations = comfy.ops.disable_weight_init
    half = {"dtype": torch.float16, "device": "meta"}
    texts = {"SD15": comfy.sd1_clip.SD1ClipModel, "SDXL": comfy.sdxl_clip.SDXLClipModel}
    with torch.device("meta"):
        unet = UNetModel(**SHARED, **network.unet, **half, operations=operations)
        vae = AutoencoderKL(ddconfig=VAE, embed_dim=4)
        text = texts[network.family](**half)
    family = getattr(comfy.supported_models, network.family)
    state = {f"model.diffusion_model.{name}": t for name, t in unet.state_dict().items()}
    state |= {f"first_stage_model.{name}": t for name, t in vae.state_dict().items()}
    state |= family(dict(network.unet)).process_clip_state_dict_for_saving(text.state_dict())
    return {
        name: torch.zeros((), dtype=torch.float16).expand(tensor.shape)
        for name, tensor in state.items()
        if "position_ids" not in name
    }


@torch.no_grad()
def fill(module: torch.nn.Module, *, seed: int = 0) -> None:
    """Small random numbers in place, such that activations stay of ordinary size."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        scale = 0.01 if "embedding" in name else 0.5 / parameter[0].numel() ** 0.5
        parameter.normal_(0, scale, generator=generator)
