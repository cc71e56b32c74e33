"""One picture that compares columns of pictures."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PICTURE = 128
GAP = 8
MARGIN = 20
COLUMN_GAP = 28
TITLE_LINES = 3
LINE = 18
BACKGROUND = (250, 250, 252)
INK = (28, 32, 48)
FAINT = (110, 116, 132)


@dataclass(frozen=True)
class Column:
    """Pictures under a title, and a line that says which prompt made them."""

    title: str
    note: str
    pictures: list[Image.Image]


def draw_sheet(heading: str, columns: list[Column], *, across: int = 2) -> Image.Image:
    """The columns side by side, each ``across`` pictures wide, under their titles."""
    rows = max(-(-len(column.pictures) // across) for column in columns)
    width_each = across * PICTURE + (across - 1) * GAP
    width = 2 * MARGIN + len(columns) * width_each + (len(columns) - 1) * COLUMN_GAP
    top = MARGIN + 2 * LINE + TITLE_LINES * LINE + GAP
    height = top + rows * PICTURE + (rows - 1) * GAP + MARGIN
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), heading, fill=INK, font=ImageFont.load_default(17))
    for number, column in enumerate(columns):
        left = MARGIN + number * (width_each + COLUMN_GAP)
        _write(draw, (left, MARGIN + 2 * LINE), column, width_each)
        for index, picture in enumerate(column.pictures):
            place = (
                left + (index % across) * (PICTURE + GAP),
                top + (index // across) * (PICTURE + GAP),
            )
            sheet.paste(picture.convert("RGB").resize((PICTURE, PICTURE), Image.LANCZOS), place)
    return sheet


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], column: Column, width: int) -> None:
    left, top = place
    draw.text((left, top), column.title, fill=INK, font=ImageFont.load_default(15))
    small = ImageFont.load_default(12)
    line, lines = "", []
    for word in column.note.split():
        longer = f"{line} {word}".strip()
        if line and draw.textlength(longer, font=small) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    for number, text in enumerate([*lines, line][: TITLE_LINES - 1]):
        draw.text((left, top + LINE * (number + 1)), text, fill=FAINT, font=small)
