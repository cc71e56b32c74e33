"""The steps that diffusers documents at full size, on its own and transformers' networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from .diffusers_loop import DiffusersLoop
from .diffusers_sdxl_loop import DiffusersSdxlLoop
from .full_size_networks import Network

START, END, WORD = 49406, 49407, 49408
# the configuration files of Stable Diffusion 1.5 and SDXL, where they differ from the defaults
SD15_UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
TEXT_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
}
TEXT_G = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}


def load(_: Path, network: Network) -> Callable[[Tensor], Prepared]:
    """diffusers' and transformers' networks of random weights, as the scripts load them."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    unet = UNet2DConditionModel(**(SDXL_UNET if network.family == "SDXL" else SD15_UNET))
    texts = [CLIPTextModel(_text_config(TEXT_L))]
    kind, scale = DiffusersLoop, 0.18215
    if network.family == "SDXL":
        texts.append(CLIPTextModelWithProjection(_text_config(TEXT_G)))
        kind, scale = DiffusersSdxlLoop, 0.13025
    ids = [START, 320, 1125, 539, WORD, *[END] * 72]
    loop = kind(texts, unet.train(), _encoder(scale), lambda _: ids, _alphas(), WORD)
    return lambda pictures: Prepared(loop, pictures)


class Prepared:
    """A run that has begun."""

    def __init__(self, loop: DiffusersLoop, pictures: Tensor) -> None:
        self.loop, self.pictures = loop, pictures.movedim(-1, 1).contiguous()

    def step(self) -> Any:
        return self.loop.step(self.pictures)


def _text_config(config: dict[str, Any]) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(vocab_size=WORD + 1, eos_token_id=END, **config)


def _encoder(scale: float) -> Callable[[Tensor], Tensor]:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
    )
    vae.requires_grad_(False)
    return lambda pictures: vae.encode(pictures * 2 - 1).latent_dist.sample() * scale


def _alphas() -> Tensor:
    from diffusers import DDPMScheduler

    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    return schedule.alphas_cumprod
