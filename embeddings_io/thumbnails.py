"""The small picture beside or within an embedding's file, which ComfyUI's model library shows."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageOps

from .embedding import Embedding
from .metadata import COVERS, THUMBNAIL
from .pictures import BROKEN, claims_too_much

SIZE = 512
COVER_SIZE = 384
"""Within a file pictures are smaller: ComfyUI shows no metadata above 1 MiB."""
ICON_SIZE = 256
"""What ModelSpec recommends for its own thumbnail."""
SUFFIX = ".preview.png"
_DATA_URL = "data:image/jpeg;base64,"
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def thumbnail(image: torch.Tensor) -> Image.Image:
    """The first picture of an IMAGE [b, h, w, 3] or [h, w, 3] of values in 0..1, at most 512 px."""
    with torch.inference_mode(False):
        first = image[0] if image.dim() == 4 else image
        levels = first[..., :3].detach().float().cpu().clamp(0, 1).mul(255).round()
        picture = Image.fromarray(levels.to(torch.uint8).contiguous().numpy())
    return fitted(picture)


def fitted(picture: Image.Image, size: int = SIZE) -> Image.Image:
    """The picture as RGB within `size` pixels; small ones keep their size."""
    picture = picture.convert("RGB")
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """A PNG file without any metadata."""
    buffer = io.BytesIO()
    fitted(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def covered(metadata: Mapping[str, str], picture: Image.Image | None) -> dict[str, str]:
    """The metadata with this picture as a file's own thumbnail; unchanged for None.

    It is written where ComfyUI looks for it, and smaller and square where ModelSpec wants it.
    """
    if picture is None:
        return dict(metadata)
    shown = fitted(picture, COVER_SIZE)
    side = min(ICON_SIZE, *shown.size)
    icon = ImageOps.fit(shown, (side, side), Image.Resampling.LANCZOS)
    covers = json.dumps([_jpeg(shown, 65)])
    return {**metadata, COVERS: covers, THUMBNAIL: f"{_DATA_URL}{_jpeg(icon, 50)}"}


def with_cover(embedding: Embedding, picture: Image.Image) -> Embedding:
    """The embedding whose file will hold this picture."""
    return replace(embedding, metadata=covered(embedding.metadata, picture))


def cover_of(metadata: Mapping[str, str]) -> Image.Image | None:
    """The thumbnail within a file, or None where there is none that can be shown."""
    try:
        covers = json.loads(metadata.get(COVERS) or "[]")
        text = covers[0] if covers else metadata.get(THUMBNAIL, "").partition("base64,")[2]
        return opened(io.BytesIO(base64.b64decode(text)))
    except (ValueError, LookupError, TypeError, binascii.Error, RecursionError):
        return None


def sidecar_of(path: Path) -> Path | None:
    """The picture beside an embedding's file that stands for it, the pack's own kind first."""
    stem = path.name[: -len(path.suffix)] if path.suffix else path.name
    endings = (SUFFIX, *(f"{kind}{end}" for kind in (".preview", "") for end in _PICTURES))
    beside = (path.with_name(stem + ending) for ending in endings)
    return next((picture for picture in beside if picture != path and picture.is_file()), None)


def thumbnail_of(path: Path, metadata: Mapping[str, str]) -> Image.Image | None:
    """The picture that stands for a file: the one beside it, else the one within."""
    beside = sidecar_of(path)
    shown = opened(beside) if beside is not None else None
    return shown or cover_of(metadata)


def _jpeg(picture: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def opened(source: Path | io.BytesIO) -> Image.Image | None:
    """A picture file, or None for anything else and for one that claims far more than it has."""
    try:
        size = source.stat().st_size if isinstance(source, Path) else source.getbuffer().nbytes
        with Image.open(source) as picture:
            return None if claims_too_much(picture, size) else fitted(picture)
    except BROKEN:
        return None
