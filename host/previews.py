"""Pictures sampled by ComfyUI's own sampler: what a word gives now."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import comfy.model_management as management
import comfy.sample
import torch
from PIL import Image

from ..embeddings_io.embedding import Embedding
from .clip_with import clip_with


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How previews are sampled: latent shape ``(C, h, w)``, steps, guidance and first seed."""

    latent_shape: tuple[int, int, int]
    seed: int
    steps: int = 20
    guidance: float = 5.0
    sampler: str = "dpmpp_2m"
    scheduler: str = "karras"


def sample(
    model: Any,
    clip: Any,
    vae: Any,
    prompt: str,
    sampling: Sampling,
    *,
    count: int,
    negative: str = "",
    embeddings: Sequence[Embedding] = (),
) -> torch.Tensor:
    """``count`` pictures ``[count, H, W, 3]`` in 0..1 of a prompt, at fixed seeds.

    ``embeddings`` are known to the prompts by name, whatever is on the disk.
    """
    knowing = clip_with(clip, embeddings) if embeddings else clip
    with torch.inference_mode():
        positive, unwanted = _encoded(knowing, prompt), _encoded(knowing, negative)
        latent = torch.zeros(
            (count, *sampling.latent_shape), device=management.intermediate_device()
        )
        sampled = comfy.sample.sample(
            model,
            _noise(latent.shape, sampling.seed),
            sampling.steps,
            sampling.guidance,
            sampling.sampler,
            sampling.scheduler,
            positive,
            unwanted,
            latent,
            disable_pbar=True,
            seed=sampling.seed,
        )
        pictures = vae.decode(sampled)
    return pictures.detach().float().cpu().clamp(0, 1)


def as_pil(picture: torch.Tensor) -> Image.Image:
    """A picture ``[H, W, 3]`` in 0..1 as a Pillow image."""
    levels = picture.mul(255).round().to(torch.uint8)
    return Image.fromarray(levels.numpy())


def _encoded(clip: Any, text: str) -> list[Any]:
    return clip.encode_from_tokens_scheduled(clip.tokenize(text), show_pbar=False)


def _noise(shape: torch.Size, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)
