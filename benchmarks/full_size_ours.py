"""The pack's own steps at full size, on models that ComfyUI has loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .full_size_networks import Network, fill, hollow_checkpoint


def load(comfyui: Path, network: Network) -> Callable[[Tensor], Prepared]:
    """A checkpoint loaded by ComfyUI; gives what begins a run on pictures ``[b, h, w, 3]``.

    The text encoders are loaded in float32, as the other loop has them (`--fp32-text-enc`).
    """
    from microworld.learning import _pack
    from microworld.sampler import host_nodes

    host_nodes(comfyui)
    _pack()
    import comfy.cli_args
    import comfy.sd

    comfy.cli_args.args.fp32_text_enc = True
    model, clip, vae = comfy.sd.load_state_dict_guess_config(
        hollow_checkpoint(network), output_vae=True, output_clip=True
    )[:3]
    for module in (model.model.diffusion_model, clip.patcher.model, vae.first_stage_model):
        fill(module)
        if {each.dtype for each in module.parameters()} != {torch.float32}:
            raise RuntimeError(f"{type(module).__name__} of {network.title} is not in float32.")
    return lambda pictures: Prepared(model, clip, vae, pictures)


class Prepared:
    """A run that has begun; the pictures go through the VAE here, once."""

    def __init__(self, model: Any, clip: Any, vae: Any, pictures: Tensor) -> None:
        from textual_inversion.host.borrow import borrow
        from textual_inversion.host.denoiser import ModelDenoiser
        from textual_inversion.host.families import identify
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
        encoder = ClipTextEncoder(lent.clip, *identify(model, clip).encoder_keys)
        initial = initial_vectors(encoder, "toy", 1, 0.0, torch.Generator().manual_seed(0))
        trainer = Trainer(recipe, encoder, ModelDenoiser(lent), Dataset(cached), initial)
        self.events = trainer.run()
        next(self.events)

    def step(self) -> Any:
        return next(self.events)
