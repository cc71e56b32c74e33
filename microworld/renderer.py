"""Draws scenes: signed distances of the shapes, their textures, backgrounds and styles."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from . import world

_HALF = world.PICTURE_SIZE / 2
_RADIUS = (13.5, 20.0)
_OFFSET = 12.0
_REACH = 4.5


def _polygon(points: list[tuple[float, float]], x: Tensor, y: Tensor) -> Tensor:
    """Signed distance to a closed polygon in units of the radius, negative inside."""
    distance = torch.full_like(x, 1e9)
    sign = torch.ones_like(x)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        t = ((wx * ex + wy * ey) / (ex * ex + ey * ey)).clamp(0, 1)
        distance = torch.minimum(distance, (wx - ex * t) ** 2 + (wy - ey * t) ** 2)
        crosses = ((ay <= y) & (by > y)) | ((by <= y) & (ay > y))
        left = ex * wy - ey * wx
        sign = torch.where(crosses & ((left > 0) == (ey > 0)), -sign, sign)
    return sign * distance.sqrt()


def _around(count: int, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    angles = [2 * math.pi * i / (count * len(radii)) for i in range(count * len(radii))]
    return [
        (radii[i % len(radii)] * math.sin(a), -radii[i % len(radii)] * math.cos(a))
        for i, a in enumerate(angles)
    ]


def _heart_outline() -> list[tuple[float, float]]:
    outline = []
    for i in range(28):
        a = 2 * math.pi * i / 28
        outline.append(
            (
                math.sin(a) ** 3,
                (5 * math.cos(2 * a) - 13 * math.cos(a) + 2 * math.cos(3 * a) + math.cos(4 * a))
                / 15,
            )
        )
    return outline


_CROSS = [
    (-0.36, -1.0),
    (0.36, -1.0),
    (0.36, -0.36),
    (1.0, -0.36),
    (1.0, 0.36),
    (0.36, 0.36),
    (0.36, 1.0),
    (-0.36, 1.0),
    (-0.36, 0.36),
    (-1.0, 0.36),
    (-1.0, -0.36),
    (-0.36, -0.36),
]
_OUTLINES = {
    "square": [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)],
    "triangle": _around(3, (1.15,)),
    "star": _around(5, (1.18, 0.50)),
    "heart": _heart_outline(),
    "cross": _CROSS,
}


def _distance(shape: str, x: Tensor, y: Tensor) -> Tensor:
    length = (x * x + y * y).sqrt()
    if shape == "circle":
        return length - 1.0
    if shape == "ring":
        return (length - 0.76).abs() - 0.27
    if shape == "moon":
        return torch.maximum(length - 1.0, 0.82 - ((x - 0.52) ** 2 + (y + 0.18) ** 2).sqrt())
    return _polygon(_OUTLINES[shape], x, y)


@functools.cache
def _distance_fields() -> Tensor:
    """Every shape's signed distance on a grid of +-`_REACH` radii, [shapes, 1, 640, 640]."""
    axis = torch.linspace(-_REACH, _REACH, 640)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([_distance(shape, x, y) for shape in world.SHAPES])[:, None]


def _background(index: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """[n, 3, 64, 64] in 0..1; every background differs in brightness or in pattern."""
    count = len(index)
    down = ((y + _HALF) / world.PICTURE_SIZE)[None, None].expand(count, 1, -1, -1)
    turn = 2 * math.pi / 8
    speck = ((torch.cos(x * turn / 2) * torch.cos(y * turn / 2)).abs() > 0.90).float()[None, None]
    blades = (torch.sin(x * turn) > 0).float()[None, None]

    def colour(r: float, g: float, b: float) -> Tensor:
        return torch.tensor((r, g, b)).view(1, 3, 1, 1)

    pictures = torch.stack(
        [
            part.expand(count, 3, world.PICTURE_SIZE, world.PICTURE_SIZE)
            for part in (
                colour(0.02, 0.02, 0.02) + 0 * down,
                colour(0.52, 0.52, 0.52) + 0 * down,
                colour(0.45, 0.72, 0.98) * (1 - down) + colour(0.88, 0.95, 1.0) * down,
                colour(0.86, 0.74, 0.50) + 0.05 * torch.sin(y * turn)[None, None],
                colour(0.16, 0.36, 0.10) * (1 + 0.55 * blades),
                colour(0.05, 0.06, 0.24) + 0.75 * speck,
            )
        ],
        dim=1,
    )
    return pictures[torch.arange(count), index]


def _texture(index: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """A factor on the object's colour, [n, 64, 64]; both patterns repeat every latent (8 px)."""
    stripes = torch.where(torch.remainder(x + y, 8.0) < 4, 1.0, 0.2)
    dots = torch.where(
        (torch.remainder(x, 8.0) - 4) ** 2 + (torch.remainder(y, 8.0) - 4) ** 2 < 8.0, 0.0, 1.0
    )
    patterns = torch.stack([torch.ones_like(x), stripes, dots])
    return patterns[index]


def _spoil(pictures: Tensor, seeds: Tensor) -> Tensor:
    """A smeared, grainy, washed-out copy: what a failed picture looks like here."""
    blurred = torch.nn.functional.avg_pool2d(pictures, 9, 1, 4, count_include_pad=False)
    generator = torch.Generator().manual_seed(int(seeds.abs().sum() * 1e4) % (2**31))
    blotches = torch.rand(len(pictures), 3, 8, 8, generator=generator)
    blotches = torch.nn.functional.interpolate(blotches, scale_factor=8, mode="nearest")
    return (0.55 * blurred + 0.45 * blotches).clamp(0, 1)


def render(scenes: world.Scenes) -> Tensor:
    """Pictures of the scenes, [n, 3, 64, 64] float32 in 0..1."""
    return render_with_cover(scenes)[0]


@torch.no_grad()
def render_with_cover(scenes: world.Scenes) -> tuple[Tensor, Tensor]:
    """Pictures, and where their objects lie: [n, 1, 64, 64], 1 on the object and its edge."""
    axis = torch.arange(world.PICTURE_SIZE) - _HALF + 0.5
    grid_y, grid_x = torch.meshgrid(axis, axis, indexing="ij")
    shift = torch.tensor([(-1.0, 0), (1, 0), (0, -1), (0, 1), (0, 0)])[scenes.position] * _OFFSET
    shift = shift + scenes.jitter[:, :2] * 1.5
    radius = torch.tensor(_RADIUS)[scenes.size] * (1 + 0.04 * scenes.jitter[:, 2])
    px = grid_x - shift[:, 0].view(-1, 1, 1)
    py = grid_y - shift[:, 1].view(-1, 1, 1)
    scale = radius.view(-1, 1, 1)
    where = torch.stack([px, py], dim=-1) / (scale[..., None] * _REACH)
    distance = torch.empty_like(px)
    for index in range(len(world.SHAPES)):
        rows = (scenes.shape == index).nonzero()[:, 0]
        if len(rows):
            field = _distance_fields()[index].expand(len(rows), -1, -1, -1)
            distance[rows] = torch.nn.functional.grid_sample(
                field, where[rows], padding_mode="border", align_corners=True
            )[:, 0]
    distance = distance * scale
    inside = (0.5 - distance).clamp(0, 1)
    edge = (0.5 - (distance.abs() - 1.1)).clamp(0, 1)
    ink = (0.5 - (distance.abs() - 2.4)).clamp(0, 1)

    background = _background(scenes.background, grid_x, grid_y)
    hue = torch.tensor([world.HUES_RGB[c] for c in world.COLOUR_VALUES])[scenes.colour]
    hue = hue[:, :, None, None]
    filled = hue * _texture(scenes.texture, grid_x, grid_y)[:, None]
    photo = background + inside[:, None] * (filled - background)
    photo = photo * (1 - 0.85 * edge[:, None])

    # A sketch keeps the ground pale and draws the object's contour, and its texture, in ink.
    paper = 0.72 + 0.28 * background
    hatch = inside * (1 - _texture(scenes.texture, grid_x, grid_y)).clamp(0, 1)
    stroke = torch.maximum(ink, 0.9 * hatch)[:, None]
    sketch = paper + stroke * (0.8 * hue - paper)

    style = scenes.style.view(-1, 1, 1, 1)
    pictures = torch.where((style == 3) | (style == 4), sketch, photo)
    pictures = torch.where((style == 1) | (style == 4), 0.5 + 0.5 * pictures, pictures)
    pictures = torch.where(style == 2, 0.5 * pictures, pictures)
    if scenes.spoilt.any():
        rows = scenes.spoilt
        pictures[rows] = _spoil(pictures[rows], scenes.jitter[rows])
    return pictures.clamp(0, 1), (distance < 3).float()[:, None]
