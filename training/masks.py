"""Masks that say what of a picture counts: matched to pictures, brought to the latents' size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as functional

ASPECT_TOLERANCE = 0.03


class MaskError(ValueError):
    """The masks don't go with the pictures; the message says which and what to do."""


def match_masks(
    masks: Sequence[torch.Tensor], pictures: Sequence[torch.Tensor], background: float
) -> list[torch.Tensor | None]:
    """Weights ``[H, W]`` for each picture ``[H, W, 3 or 4]``: 1 inside, ``background`` outside.

    ``masks`` are ``[H, W]`` or ``[b, H, W]``, white inside; one for every picture or one for
    all. Without masks the alpha of a picture is its mask. A mask that is black all over is none,
    as is one that is white all over. Raises MaskError.
    """
    given = [mask for batch in masks for mask in (batch if batch.ndim == 3 else batch[None])]
    if any(mask.ndim != 2 for mask in given):
        raise MaskError("Expected masks [b, height, width]; connect a MASK output.")
    if not given:
        given_or_alpha = [_alpha(picture) for picture in pictures]
    elif len(given) in (1, len(pictures)):
        given_or_alpha = given if len(given) == len(pictures) else given * len(pictures)
    else:
        raise MaskError(
            f"There are {len(given)} masks for {len(pictures)} pictures; give one mask for each, "
            "one for all, or none."
        )
    return [
        _weights(mask, picture, number, background)
        for number, (mask, picture) in enumerate(zip(given_or_alpha, pictures, strict=True), 1)
    ]


def latent_mask(mask: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """A mask ``[H, W]`` of weights as ``[h, w]`` with a mean of 1.

    A latent counts as much as the average of the pixels it stands for, and a picture counts as
    much as any other however small its mask is (Break-A-Scene, arXiv 2305.16311).
    """
    small = functional.adaptive_avg_pool2d(mask.float()[None, None], (size[0], size[1]))[0, 0]
    return small / small.mean().clamp_min(1e-6)


def _alpha(picture: torch.Tensor) -> torch.Tensor | None:
    return picture[..., 3] if picture.shape[-1] == 4 else None


def _weights(
    mask: torch.Tensor | None, picture: torch.Tensor, number: int, background: float
) -> torch.Tensor | None:
    if mask is None:
        return None
    inside = mask.detach().to("cpu", torch.float32).nan_to_num(0.0).clamp(0, 1)
    if float(inside.max()) == 0 or float(inside.min()) == 1:
        return None
    height, width = int(picture.shape[0]), int(picture.shape[1])
    if tuple(inside.shape) != (height, width):
        aspects = inside.shape[1] / inside.shape[0], width / height
        if abs(aspects[0] / aspects[1] - 1) > ASPECT_TOLERANCE:
            raise MaskError(
                f"The mask of picture {number} is {inside.shape[1]}x{inside.shape[0]}, the picture "
                f"{width}x{height}; a mask needs the picture's size."
            )
        inside = functional.interpolate(inside[None, None], size=(height, width), mode="area")[0, 0]
    return background + (1 - background) * inside
