"""The two loops on Stable Diffusion 1.5's shapes with random weights."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .activation_memory import SD15, SHARED
from .diffusers_loop import DiffusersLoop

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
WORD = 49407


class Prepared(Protocol):
    """A run that has begun."""

    def step(self) -> Any: ...


def load_ours(comfyui: Path) -> Callable[[Tensor], Prepared]:
    """A checkpoint loaded by ComfyUI; gives what begins a run on pictures ``[b, h, w, 3]``."""
    from microworld.learning import _pack
    from microworld.sampler import host_nodes

    host_nodes(comfyui)
    _pack()
    import comfy.sd

    state = _random_checkpoint()
    model, clip, vae = comfy.sd.load_state_dict_guess_config(
        state, output_vae=True, output_clip=True
    )[:3]
    del state
    gc.collect()
    return lambda pictures: _Ours(model, clip, vae, pictures)


class _Ours:
    """The pack's own trainer; the pictures go through the VAE here, once."""

    def __init__(self, model: Any, clip: Any, vae: Any, pictures: Tensor) -> None:
        from textual_inversion.host.borrow import borrow
        from textual_inversion.host.denoiser import ModelDenoiser
        from textual_inversion.host.latents import cache_latents
        from textual_inversion.host.text_encoder import ClipTextEncoder
        from textual_inversion.training.dataset import Dataset
        from textual_inversion.training.initial import initial_vectors
        from textual_inversion.training.pictures import prepare
        from textual_inversion.training.recipe import Recipe
        from textual_inversion.training.trainer import Trainer

        batch, side = len(pictures), pictures.shape[1]
        with torch.inference_mode():
            prepared = prepare(list(pictures.split(1)), [], resolution=side, flip=False)
            cached = cache_latents(model, vae, prepared)
        recipe = Recipe(batch_size=batch, probe_every=10_000, probe_size=1, early_stop=False)
        self.borrowed = borrow(model, clip, batch_size=batch, latent_area=(side // 8) ** 2)
        lent = self.borrowed.__enter__()
        encoder = ClipTextEncoder(lent.clip, "clip_l")
        initial = initial_vectors(encoder, "toy", 1, 0.0, torch.Generator().manual_seed(0))
        trainer = Trainer(recipe, encoder, ModelDenoiser(lent), Dataset(cached), initial)
        self.events = trainer.run()
        next(self.events)

    def step(self) -> Any:
        return next(self.events)


def _random_checkpoint() -> dict[str, Tensor]:
    """Stable Diffusion 1.5's names and shapes with small random numbers, in float16."""
    import comfy.ops
    import comfy.sd1_clip
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    with torch.device("meta"):
        operations = comfy.ops.disable_weight_init
        modules = {
            "model.diffusion_model.": UNetModel(
                **SHARED, **SD15, dtype=torch.float16, device="meta", operations=operations
            ),
            "cond_stage_model.transformer.": comfy.sd1_clip.SD1ClipModel(
                device="meta", dtype=torch.float16
            ).clip_l.transformer,
            "first_stage_model.": AutoencoderKL(ddconfig=VAE, embed_dim=4),
        }
    generator = torch.Generator().manual_seed(0)
    state = {}
    for prefix, module in modules.items():
        for name, tensor in module.state_dict().items():
            state[prefix + name] = _random(name, tensor.shape, generator)
    state.pop("cond_stage_model.transformer.text_projection.weight", None)
    return state


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    if len(shape) < 2:
        value = 1.0 if name.endswith("weight") else 0.0
        return torch.full(shape, value, dtype=torch.float16)
    scale = 0.01 if "embedding" in name else 0.5 / shape[1:].numel() ** 0.5
    return torch.empty(shape, dtype=torch.float16).normal_(0, scale, generator=generator)


def load_diffusers(_: Path) -> Callable[[Tensor], Prepared]:
    """diffusers' and transformers' own networks, as its textual-inversion script loads them."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    # the configuration files of Stable Diffusion 1.5
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
    )
    vae.requires_grad_(False)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=WORD + 1,
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            hidden_act="quick_gelu",
        )
    )
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    ids = [49406, 320, 1125, 539, WORD, *[49406] * 72]

    def encode(pictures: Tensor) -> Tensor:
        return vae.encode(pictures * 2 - 1).latent_dist.sample() * 0.18215

    loop = DiffusersLoop(text, unet.train(), encode, lambda _: ids, schedule.alphas_cumprod, WORD)
    return lambda pictures: _Diffusers(loop, pictures)


class _Diffusers:
    def __init__(self, loop: DiffusersLoop, pictures: Tensor) -> None:
        self.loop, self.pictures = loop, pictures.movedim(-1, 1).contiguous()

    def step(self) -> Any:
        return self.loop.step(self.pictures)


LOADED: dict[str, Callable[[Path], Callable[[Tensor], Prepared]]] = {
    "ours": load_ours,
    "diffusers": load_diffusers,
}
