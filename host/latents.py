"""Pictures through ComfyUI's VAE once, kept as moments; then the VAE leaves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import comfy.model_management as management
import torch

from ..training.dataset import CachedPicture
from ..training.masks import latent_mask
from ..training.pictures import Picture, PictureError
from .families import UnsupportedModelError

LOG_VARIANCE_RANGE = (-30.0, 20.0)


def cache_latents(model: Any, vae: Any, pictures: Sequence[Picture]) -> list[CachedPicture]:
    """Encode every picture once, in the model's own latent scale; the VAE is then unloaded.

    An autoencoder that predicts a distribution gives mean and std, a plain one the mean alone.
    Raises PictureError for latents that are no numbers, UnsupportedModelError for a VAE of
    another kind of model.
    """
    scale = model.model.process_latent_in
    needed = model.model.latent_format.latent_channels
    made = getattr(vae, "latent_channels", needed)
    if made != needed:
        raise UnsupportedModelError(
            f"VAE and MODEL don't belong together: this VAE makes latents of {made} channels, the "
            f"model reads {needed}; connect both from one checkpoint."
        )
    try:
        with torch.inference_mode(False), torch.no_grad():
            return [_cached(vae, scale, picture) for picture in pictures]
    finally:
        unload(vae)


def unload(vae: Any) -> None:
    """Let the VAE leave the device through ComfyUI's model management."""
    loaded_models = management.current_loaded_models
    for index in reversed(range(len(loaded_models))):
        if loaded_models[index].model is vae.patcher:
            loaded_models.pop(index).model_unload()
    management.soft_empty_cache()


def _cached(vae: Any, scale: Any, picture: Picture) -> CachedPicture:
    with _moments(vae) as seen:
        mean = vae.encode(picture.pixels.unsqueeze(0)).clone()
    std = _std(seen, mean)
    scaled = scale(mean)
    if not bool(torch.isfinite(scaled).all()):
        raise PictureError(
            f"The VAE turned picture {picture.source + 1} into values that are no numbers; start "
            "ComfyUI with --fp32-vae or use another VAE."
        )
    spread = None if std is None else (scale(mean + std) - scaled)[0].float().cpu()
    return CachedPicture(
        scaled[0].float().cpu(),
        spread,
        picture.source,
        picture.caption,
        mask=None if picture.mask is None else latent_mask(picture.mask, scaled.shape[-2:]),
        flipped=picture.flipped,
        concept=picture.concept,
        good=picture.good,
        original=picture.original,
        crop=picture.crop,
    )


@contextlib.contextmanager
def _moments(vae: Any) -> Iterator[list[torch.Tensor]]:
    """Watch what goes into the VAE's regularisation: mean and log-variance, side by side."""
    seen: list[torch.Tensor] = []
    regularization = getattr(vae.first_stage_model, "regularization", None)
    if not isinstance(regularization, torch.nn.Module):
        yield seen
        return

    def keep(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].detach().float().cpu())

    hook = regularization.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def _std(seen: Sequence[torch.Tensor], mean: torch.Tensor) -> torch.Tensor | None:
    """The standard deviation beside ``mean``, where one whole encoding was seen."""
    if len(seen) != 1 or seen[0].shape[1] != 2 * mean.shape[1]:
        return None
    if seen[0].shape[2:] != mean.shape[2:]:
        return None
    log_variance = seen[0].chunk(2, dim=1)[1].clamp(*LOG_VARIANCE_RANGE)
    return (0.5 * log_variance).exp().to(mean)
