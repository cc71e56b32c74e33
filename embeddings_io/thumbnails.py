"""The small picture beside an embedding's file, which ComfyUI's model library shows."""

from __future__ import annotations

import io

import torch
from PIL import Image

SIZE = 512
SUFFIX = ".preview.png"


def thumbnail(image: torch.Tensor) -> Image.Image:
    """The first picture of an IMAGE [b, h, w, 3] or [h, w, 3] of values in 0..1, at most 512 px."""
    with torch.inference_mode(False):
        first = image[0] if image.dim() == 4 else image
        levels = first[..., :3].detach().float().cpu().clamp(0, 1).mul(255).round()
        picture = Image.fromarray(levels.to(torch.uint8).contiguous().numpy())
    return fitted(picture)


def fitted(picture: Image.Image) -> Image.Image:
    """The picture as RGB within SIZE pixels; small ones keep their size."""
    picture = picture.convert("RGB")
    picture.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """A PNG file without any metadata."""
    buffer = io.BytesIO()
    fitted(picture).save(buffer, format="PNG")
    return buffer.getvalue()
