"""The plot of a run, drawn with Pillow: the probe bank's curve and how hard each picture was."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from ..training.difficulty import PictureDifficulty

WIDTH, HEIGHT = 960, 540
BARS_HEIGHT = 180
SCALE = 2
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 58, 46
PAPER, INK, FAINT, GRID = (255, 255, 255), (30, 34, 46), (112, 118, 132), (228, 231, 238)
CURVE, LOSSES, BEST, ODD = (28, 96, 196), (196, 206, 224), (214, 92, 32), (204, 44, 60)
TICKS = 5
MOST_BARS = 40


@dataclasses.dataclass(frozen=True)
class Plot:
    """What is drawn: (step, loss) points, the best step, and the pictures' difficulties."""

    title: str
    probes: Sequence[tuple[int, float]]
    losses: Sequence[tuple[int, float]]
    best_step: int
    pictures: Sequence[PictureDifficulty] = ()
    odd: frozenset[int] = frozenset()

    def draw(self) -> Image.Image:
        """An RGB picture, 960 wide, drawn at twice the size and scaled down for smooth lines."""
        height = HEIGHT + (BARS_HEIGHT if self.pictures else 0)
        sheet = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
        pen = Pen(ImageDraw.Draw(sheet))
        pen.text((LEFT, 18), self.title, 18, INK)
        self._curve(pen)
        if self.pictures:
            self._bars(pen, HEIGHT)
        return sheet.resize((WIDTH, height), Image.Resampling.LANCZOS)

    def _curve(self, pen: Pen) -> None:
        values = [loss for _, loss in self.probes]
        ticks = nice_ticks(min(values), max(values))
        last = max(1, max(step for step, _ in self.probes))
        low, high = ticks[0], ticks[-1]
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

        def place(step: float, loss: float) -> tuple[float, float]:
            across = LEFT + step / last * (right - LEFT)
            share = (min(max(loss, low), high) - low) / (high - low)
            return across, bottom - share * (bottom - TOP)

        for tick in ticks:
            level = place(0, tick)[1]
            pen.line([(LEFT, level), (right, level)], GRID, 1)
            pen.text((LEFT - 10, level), f"{tick:.4g}", 13, FAINT, "rm")
        for tick in nice_ticks(0, last):
            if tick <= last:
                pen.text((place(tick, low)[0], bottom + 10), f"{tick:g}", 13, FAINT, "mt")
        pen.text(((LEFT + right) / 2, HEIGHT - 16), "step", 13, FAINT, "mm")
        pen.text((right, TOP - 20), "loss of the probe bank", 13, CURVE, "rm")
        for step, loss in self.losses:
            if low <= loss <= high:
                pen.dot(place(step, loss), 1.2, LOSSES)
        pen.line([place(*point) for point in self.probes], CURVE, 2.2)
        best = next((point for point in self.probes if point[0] == self.best_step), None)
        if best is not None:
            pen.dot(place(*best), 5, BEST)
            across, level = place(*best)
            side = "rm" if across > WIDTH / 2 else "lm"
            shift = -12 if side == "rm" else 12
            label = f"best: {best[1]:.4g} at step {best[0]}"
            free = level + 20 if level + 30 < bottom else level - 28
            pen.text((across + shift, free), label, 13, BEST, side)

    def _bars(self, pen: Pen, top: float) -> None:
        shown = self.pictures[:MOST_BARS]
        pen.text(
            (LEFT, top + 8), "agreement of each picture with the others (more is better)", 13, FAINT
        )
        base, tallest = top + BARS_HEIGHT - 34, BARS_HEIGHT - 74
        most = max(0.05, max(abs(each.agreement) for each in shown))
        room = (WIDTH - LEFT - RIGHT) / len(shown)
        for number, each in enumerate(shown):
            left = LEFT + number * room + 0.15 * room
            level = base - max(0.0, each.agreement) / most * tallest
            color = ODD if each.source in self.odd else CURVE
            pen.box((left, min(level, base - 1), left + min(0.7 * room, 60), base), color)
            pen.text((left + min(0.35 * room, 30), base + 6), str(each.source + 1), 12, FAINT, "mt")
        pen.line([(LEFT, base), (WIDTH - RIGHT, base)], FAINT, 1)


class Pen:
    """Draws in plot coordinates on a sheet that is ``SCALE`` times as large."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self._draw = draw

    def line(self, points: Sequence[tuple[float, float]], color: tuple[int, ...], width: float):
        """A line through the points."""
        if len(points) > 1:
            scaled = [(SCALE * x, SCALE * y) for x, y in points]
            self._draw.line(scaled, fill=color, width=round(SCALE * width), joint="curve")

    def dot(self, place: tuple[float, float], radius: float, color: tuple[int, ...]):
        """A filled circle."""
        x, y = place
        edges = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse([SCALE * edge for edge in edges], fill=color)

    def box(self, edges: tuple[float, float, float, float], color: tuple[int, ...]):
        """A filled rectangle: left, top, right, bottom."""
        self._draw.rectangle([SCALE * edge for edge in edges], fill=color)

    def text(
        self,
        place: tuple[float, float],
        text: str,
        size: int,
        color: tuple[int, ...],
        anchor: str = "la",
    ):
        """A line of text; ``anchor`` says which of its points ``place`` is, as Pillow has it."""
        font = ImageFont.load_default(SCALE * size)
        self._draw.text((SCALE * place[0], SCALE * place[1]), text, color, font, anchor=anchor)


def nice_ticks(low: float, high: float) -> list[float]:
    """About five round numbers that enclose ``low`` and ``high``."""
    if not high > low:
        high = low + max(abs(low), 1e-6)
    rough = (high - low) / TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]
