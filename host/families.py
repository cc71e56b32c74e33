"""Which model families can be trained, and whether MODEL and CLIP belong together."""

from __future__ import annotations

import dataclasses
from typing import Any


class UnsupportedModelError(ValueError):
    """The connected models can't be trained with; the message names them."""


@dataclasses.dataclass(frozen=True)
class Family:
    """A model family: its text encoders by ComfyUI's key, and the context width they make."""

    name: str
    encoder_keys: tuple[str, ...]
    context_width: int


SD1 = Family("Stable Diffusion 1.x", ("clip_l",), 768)
SUPPORTED = (SD1,)

_ENCODER_ATTRIBUTES = ("clip_l", "clip_g", "clip_h", "t5xxl", "llama")


def identify(model: Any, clip: Any) -> Family:
    """The family of a MODEL and CLIP; raises UnsupportedModelError, naming what was found."""
    found_model = model_name(model)
    keys = encoder_keys(clip)
    family = next((each for each in SUPPORTED if each.encoder_keys == keys), None)
    config = getattr(model.model, "model_config", None)
    unet = getattr(config, "unet_config", {}) or {}
    width = unet.get("context_dim")
    trainable_model = (
        width is not None
        and unet.get("in_channels", 4) == 4
        and not unet.get("adm_in_channels")
        and any(each.context_width == width for each in SUPPORTED)
    )
    if not trainable_model:
        raise UnsupportedModelError(
            f"Training for {found_model} is not supported yet; connect the MODEL of a "
            f"{SD1.name} checkpoint."
        )
    if family is None or family.context_width != width:
        raise UnsupportedModelError(
            f"MODEL and CLIP don't belong together: {found_model} reads a context {width} wide, "
            f"but this CLIP holds {_described(clip, keys)}; connect both from one checkpoint."
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
