"""Which model families can be trained, and whether MODEL and CLIP belong together."""

from __future__ import annotations

import dataclasses
from typing import Any


class UnsupportedModelError(ValueError):
    """The connected models can't be trained with; the message names them."""


@dataclasses.dataclass(frozen=True)
class Family:
    """A model family: its text encoders by ComfyUI's key, and what its network reads.

    ``context_width`` is the width of the context, ``vector_width`` that of the vector beside the
    timestep (pooled output and sizes), None where the network has none. ``architecture`` is
    ModelSpec's word.
    """

    name: str
    encoder_keys: tuple[str, ...]
    context_width: int
    vector_width: int | None
    architecture: str


SD1 = Family("Stable Diffusion 1.x", ("clip_l",), 768, None, "stable-diffusion-v1")
SD2 = Family("Stable Diffusion 2.x", ("clip_h",), 1024, None, "stable-diffusion-v2")
SDXL = Family("SDXL", ("clip_l", "clip_g"), 2048, 2816, "stable-diffusion-xl-v1-base")
SUPPORTED = (SD1, SD2, SDXL)

_ENCODER_ATTRIBUTES = ("clip_l", "clip_g", "clip_h", "t5xxl", "llama")
_PLAIN_LATENT_CHANNELS = 4
_KNOWN = f"{', '.join(each.name for each in SUPPORTED[:-1])} or {SUPPORTED[-1].name}"


def identify(model: Any, clip: Any) -> Family:
    """The family of a MODEL and CLIP; raises UnsupportedModelError, naming what was found."""
    family = model_family(model)
    keys = encoder_keys(clip)
    if family.encoder_keys != keys:
        raise UnsupportedModelError(
            f"MODEL and CLIP don't belong together: {model_name(model)} reads a context "
            f"{family.context_width} wide from {' and '.join(family.encoder_keys)}, but this CLIP "
            f"holds {_described(clip, keys)}; connect both from one checkpoint."
        )
    return family


def model_family(model: Any) -> Family:
    """The family of a MODEL; raises UnsupportedModelError with the reason."""
    config = getattr(model.model, "model_config", None)
    unet = getattr(config, "unet_config", None) or {}
    name = model_name(model)
    channels = unet.get("in_channels", _PLAIN_LATENT_CHANNELS)
    widths = (unet.get("context_dim"), unet.get("adm_in_channels"))
    family = next(
        (each for each in SUPPORTED if (each.context_width, each.vector_width) == widths), None
    )
    if family is not None and channels != _PLAIN_LATENT_CHANNELS:
        raise UnsupportedModelError(
            f"Training for {name} models that read {channels} latent channels (inpainting, "
            f"editing) is not supported; connect the plain {family.name} MODEL."
        )
    if family is None or unet.get("use_temporal_attention"):
        raise UnsupportedModelError(
            f"Training for {name} is not supported yet; connect the MODEL of a checkpoint of "
            f"{_KNOWN}."
        )
    return family


def model_name(model: Any) -> str:
    """The family name ComfyUI itself gives a MODEL, e.g. 'SDXL'."""
    config = getattr(model.model, "model_config", None)
    return type(config if config is not None else model.model).__name__


def encoder_keys(clip: Any) -> tuple[str, ...]:
    """The keys of the text encoders inside a CLIP, in ComfyUI's order."""
    inside = clip.patcher.model
    keys = tuple(name for name in _ENCODER_ATTRIBUTES if getattr(inside, name, None) is not None)
    single = getattr(inside, "clip", None)
    if not keys and isinstance(single, str):
        return (single,)
    return keys


def _described(clip: Any, keys: tuple[str, ...]) -> str:
    widths = []
    for key in keys:
        encoder = getattr(clip.patcher.model, key)
        table = encoder.transformer.get_input_embeddings().weight
        widths.append(f"{key} ({table.shape[-1]} wide)")
    return " and ".join(widths) or "an unknown text encoder"
