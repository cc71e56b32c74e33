"""Which models an embedding is for, and what a text encoder can make of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

FAMILIES: Mapping[frozenset[str], str] = {
    frozenset(encoders.split()): family
    for encoders, family in {
        "clip_l": "Stable Diffusion 1.x",
        "clip_h": "Stable Diffusion 2.x",
        "clip_l clip_g": "SDXL",
        "clip_g": "the SDXL refiner",
        "clip_l clip_g t5xxl": "Stable Diffusion 3",
        "clip_l t5xxl": "Flux.1",
        "t5xxl": "PixArt, Chroma and other T5-XXL models",
        "clip_l llama": "HunyuanVideo",
        "clip_l clip_g t5xxl llama": "HiDream",
        "umt5xxl": "Wan",
        "qwen25_7b": "Qwen-Image",
        "qwen3_4b": "Z-Image and Flux.2 Klein 4B",
        "qwen3_8b": "Flux.2 Klein 9B",
        "mistral3_24b": "Flux.2",
        "gemma2_2b": "Lumina 2",
    }.items()
}
"""Sets of encoder keys and the models that have exactly these."""

ARCHITECTURES: Mapping[frozenset[str], str] = {
    frozenset(("clip_l",)): "stable-diffusion-v1",
    frozenset(("clip_h",)): "stable-diffusion-v2-512",
    frozenset(("clip_l", "clip_g")): "stable-diffusion-xl-v1-base",
    frozenset(("clip_g",)): "stable-diffusion-xl-v1-refiner",
    frozenset(("clip_l", "clip_g", "t5xxl")): "stable-diffusion-v3-medium",
    frozenset(("clip_l", "t5xxl")): "flux-1-dev",
}
"""ModelSpec's words for them, where it has one."""


@dataclass(frozen=True)
class Fit:
    """What becomes of an embedding in a CLIP: the encoders that see it, and a warning or ''."""

    used: tuple[str, ...]
    warning: str = ""


def made_for(widths: Mapping[str, int]) -> str:
    """The models with these encoders: 'SDXL', or 'models with qwen3_06b' where none is known."""
    return FAMILIES.get(frozenset(widths)) or f"models with {' and '.join(widths)}"


def architecture(encoders: Collection[str]) -> str:
    """ModelSpec's word for the models with these encoders; the encoders' own where it has none."""
    return ARCHITECTURES.get(frozenset(encoders)) or "-".join(sorted(encoders))


def fit(name: str, widths: Mapping[str, int], encoders: Mapping[str, int]) -> Fit:
    """How an embedding with vectors of `widths` fits a CLIP with `encoders`, both by encoder key.

    The warning is one sentence, whatever the number of vectors; '' where every encoder is served.
    """
    used = tuple(key for key, width in encoders.items() if widths.get(key) == width)
    if set(used) == set(encoders) == set(widths):
        return Fit(used)
    refused = "it cannot be used here; connect the CLIP of a model that it was made for"
    outcome = f"only {_listed(used)} will be used" if used else refused
    return Fit(
        used,
        f"'{name}' is made for {made_for(widths)} ({_sized(widths)}); this CLIP has "
        f"{_sized(encoders)}: {outcome}.",
    )


def _sized(widths: Mapping[str, int]) -> str:
    return _listed([f"{key} {width}" for key, width in widths.items()])


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
