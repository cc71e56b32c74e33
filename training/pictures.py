"""Pictures of any size, brought to sizes a model can take: checked, scaled, cropped, paired."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as functional

from .masks import match_masks

FINE_MULTIPLE = 8
COARSE_MULTIPLE = 64
COARSE_FROM = 256


class PictureError(ValueError):
    """The pictures can't be learnt from; the message says which and what to do."""


class Frame(NamedTuple):
    """How a picture was cut, in pixels, as SDXL wants to be told (arXiv 2307.01952, 2.2).

    The size it had; where the cut begins, after scaling; and the size that was cut out.
    """

    original_height: int
    original_width: int
    crop_top: int
    crop_left: int
    height: int
    width: int


@dataclasses.dataclass(frozen=True)
class Picture:
    """A prepared picture ``[H, W, 3]`` in 0..1, float32, with the number of its original.

    The other fields are those of :class:`~.dataset.CachedPicture`; ``mask`` is ``[H, W]`` here.
    """

    pixels: torch.Tensor
    source: int
    caption: str | None = None
    mask: torch.Tensor | None = None
    flipped: bool = False
    concept: int = 0
    good: bool = False
    original: tuple[int, int] = (0, 0)
    crop: tuple[int, int] = (0, 0)


def prepare(
    batches: Sequence[torch.Tensor],
    captions: Sequence[str],
    *,
    resolution: int,
    flip: bool,
    masks: Sequence[torch.Tensor] = (),
    background: float = 0.0,
) -> list[Picture]:
    """Pictures ``[b, H, W, C]`` of different sizes -> pictures in buckets, with their captions.

    One size for all, a multiple of 8 and no larger than ``resolution`` squared, is kept. Other
    pictures go to the bucket nearest their aspect (sides multiples of 64, or of 8 for tiny
    ones; area at most ``resolution`` squared and no more than their usual area), scaled to cover
    it and cropped in the middle. With ``flip`` every picture is followed by its mirrored twin.
    ``masks`` and ``background`` are those of :func:`~.masks.match_masks`; they are cut as the
    pictures are. Raises PictureError or MaskError.
    """
    originals = split(batches)
    texts = match_captions(captions, len(originals))
    weights = match_masks(masks, originals, background)
    sizes = [(int(each.shape[0]), int(each.shape[1])) for each in originals]
    targets = target_sizes(sizes, resolution)
    prepared = []
    for source, (original, size) in enumerate(zip(originals, targets, strict=True)):
        mask = weights[source]
        upright = Picture(
            cover(colour(original), size),
            source,
            texts[source],
            mask=None if mask is None else cover(mask[..., None], size)[..., 0],
            original=sizes[source],
            crop=covering(original, size)[1],
        )
        prepared.append(upright)
        if flip:
            prepared.append(mirrored(upright))
    return prepared


def prepare_good(
    batches: Sequence[torch.Tensor], sizes: Sequence[tuple[int, int]]
) -> list[Picture]:
    """The good pictures of a contrast, each at every (height, width) that bad ones have."""
    prepared = []
    for source, original in enumerate(split(batches)):
        given = (int(original.shape[0]), int(original.shape[1]))
        for size in dict.fromkeys(sizes):
            crop = covering(original, size)[1]
            pixels = cover(colour(original), size)
            prepared.append(Picture(pixels, source, good=True, original=given, crop=crop))
    return prepared


def mirrored(picture: Picture) -> Picture:
    """The same picture with left and right exchanged."""
    return dataclasses.replace(
        picture,
        pixels=picture.pixels.flip(1).contiguous(),
        mask=None if picture.mask is None else picture.mask.flip(1).contiguous(),
        flipped=True,
    )


def split(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Every picture ``[H, W, 1, 3 or 4]`` of all batches, checked and clamped to 0..1."""
    pictures: list[torch.Tensor] = []
    for batch in batches:
        rows = batch if batch.ndim == 4 else batch.unsqueeze(0)
        if rows.ndim != 4 or rows.shape[-1] not in (1, 3, 4):
            raise PictureError(f"Expected pictures [b, height, width, 3], got {list(batch.shape)}.")
        for row in rows:
            number = len(pictures) + 1
            if 0 in row.shape or min(row.shape[:2]) < FINE_MULTIPLE:
                raise PictureError(
                    f"Picture {number} is {row.shape[1]}x{row.shape[0]} pixels, which is too "
                    f"small; use at least {FINE_MULTIPLE}x{FINE_MULTIPLE}."
                )
            if not bool(torch.isfinite(row).all()):
                raise PictureError(
                    f"Picture {number} holds values that are no numbers (NaN); check the node "
                    "that makes it."
                )
            pictures.append(row.detach().to("cpu", torch.float32, copy=True).clamp(0, 1))
    if not pictures:
        raise PictureError("There are no pictures to learn from; connect at least one.")
    return pictures


def colour(picture: torch.Tensor) -> torch.Tensor:
    """A picture of 1, 3 or 4 channels as ``[H, W, 3]``, without alpha."""
    return picture[..., :3].expand(-1, -1, 3)


def match_captions(captions: Sequence[str], count: int) -> list[str | None]:
    """One caption (or None) for each of ``count`` pictures; a single one is for all of them."""
    texts = list(captions)
    if len(texts) == 1 and count > 1 and len(texts[0].strip().splitlines()) > 1:
        texts = texts[0].strip().splitlines()
    cleaned = [text.strip() or None for text in texts]
    if not cleaned:
        return [None] * count
    if len(cleaned) == 1:
        return cleaned * count
    if len(cleaned) != count:
        raise PictureError(
            f"There are {len(cleaned)} captions for {count} pictures; give one caption for each, "
            "one for all, or none."
        )
    return cleaned


def target_sizes(sizes: Sequence[tuple[int, int]], resolution: int) -> list[tuple[int, int]]:
    """The (height, width) each picture of these sizes is brought to."""
    first = sizes[0]
    alike = all(size == first for size in sizes)
    fits = first[0] * first[1] <= resolution**2
    if alike and fits and first[0] % FINE_MULTIPLE == 0 and first[1] % FINE_MULTIPLE == 0:
        return list(sizes)
    usual = sorted(math.sqrt(height * width) for height, width in sizes)[len(sizes) // 2]
    side = min(float(resolution), usual)
    multiple = COARSE_MULTIPLE if side >= COARSE_FROM else FINE_MULTIPLE
    return [bucket(size, side, multiple) for size in sizes]


def bucket(size: tuple[int, int], side: float, multiple: int) -> tuple[int, int]:
    """The (height, width) in multiples nearest the aspect of ``size``, at most ``side`` squared."""
    aspect = size[1] / size[0]
    most = max(1, int(side * side) // (multiple * multiple))
    cells = [(rows, columns) for rows in range(1, most + 1) for columns in _columns(rows, most)]
    large = [(rows, columns) for rows, columns in cells if rows * columns >= 0.7 * most]

    def misfit(cell: tuple[int, int]) -> tuple[float, int]:
        return (abs(math.log(cell[1] / cell[0] / aspect)), -cell[0] * cell[1])

    rows, columns = min(large, key=misfit)
    return rows * multiple, columns * multiple


def _columns(rows: int, most: int) -> range:
    """Bucket widths worth considering at a height: near the largest that still fits."""
    widest = most // rows
    return range(max(1, (3 * widest) // 4), widest + 1)


def cover(picture: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Scale ``[H, W, C]`` until it covers (height, width), then crop the middle."""
    height, width = size
    if tuple(picture.shape[:2]) == size:
        return picture
    scaled, (top, left) = covering(picture, size)
    channels_first = picture.movedim(-1, 0).unsqueeze(0)
    resized = functional.interpolate(channels_first, size=scaled, mode="bicubic", antialias=True)
    cropped = resized[0, :, top : top + height, left : left + width]
    return cropped.movedim(0, -1).clamp(0, 1).contiguous()


def covering(
    picture: torch.Tensor, size: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The (height, width) to scale to, and the (top, left) corner of the middle part."""
    height, width = size
    scale = max(height / picture.shape[0], width / picture.shape[1])
    scaled = (
        max(height, round(picture.shape[0] * scale)),
        max(width, round(picture.shape[1] * scale)),
    )
    return scaled, ((scaled[0] - height) // 2, (scaled[1] - width) // 2)
