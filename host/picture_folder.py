"""A folder of pictures under ComfyUI's input directory, with captions and masks beside them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import folder_paths
import numpy
import torch
from PIL import Image, ImageOps

from ..training.pictures import PictureError

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
CAPTIONS = (".txt", ".caption")
MASK = re.compile(r"[.\-_]mask$", re.IGNORECASE)
DEEPEST = 4
MOST_FOLDERS = 2000


@dataclasses.dataclass(frozen=True)
class FolderPicture:
    """One file: ``pixels`` ``[1, H, W, 3]`` and ``mask`` ``[1, H, W]``; black all over is none."""

    path: Path
    pixels: torch.Tensor
    mask: torch.Tensor
    caption: str


def picture_folders() -> list[str]:
    """Folders of the input directory that hold pictures, with slashes; '.' is itself."""
    root = Path(folder_paths.get_input_directory())
    found = []
    for folder, folders, files in os.walk(root, followlinks=True):
        inside = Path(folder).relative_to(root)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        if len(inside.parts) >= DEEPEST:
            folders.clear()
        if any(Path(file).suffix.lower() in PICTURES for file in files):
            found.append(inside.as_posix())
        if len(found) >= MOST_FOLDERS:
            break
    return sorted(found)


def inside_input(name: str) -> Path:
    """The folder of that name, which may be a link that its owner put there.

    Raises PictureError where the name leads out of the input directory or there is no folder.
    """
    root = Path(folder_paths.get_input_directory())
    parts = name.split("/")
    leads_out = ".." in parts or "" in parts or any(mark in name for mark in "\\:\0")
    folder = root.joinpath(*parts)
    if leads_out or not folder.is_dir():
        raise PictureError(
            f"There is no folder {name!r} in ComfyUI's input directory; put the pictures into "
            f"{root} and press R."
        )
    return folder


def fingerprint(name: str) -> str:
    """Changes when a picture, caption or mask of the folder does."""
    told = hashlib.sha256()
    for path in sorted(inside_input(name).iterdir()):
        if path.is_file():
            status = path.stat()
            told.update(f"{path.name}|{status.st_mtime_ns}|{status.st_size}\n".encode())
    return told.hexdigest()


def read_folder(name: str, largest_side: int) -> list[FolderPicture]:
    """Every picture of a folder in the order of their names, numbers counted as numbers.

    Turned upright as their EXIF data says, and scaled down where a side is longer than
    ``largest_side``. A caption is the text file of the same name; a mask the picture called
    ``name.mask.png`` (white counts), else the picture's own alpha. Raises PictureError with the
    file's name.
    """
    folder = inside_input(name)
    files = sorted((each for each in folder.iterdir() if each.is_file()), key=_natural)
    pictures = [each for each in files if each.suffix.lower() in PICTURES]
    masks = {MASK.sub("", each.stem): each for each in pictures if MASK.search(each.stem)}
    shown = [each for each in pictures if not MASK.search(each.stem)]
    if not shown:
        raise PictureError(f"There are no pictures in {folder}; put PNG, JPEG or WebP files there.")
    return [_read(each, masks.get(each.stem), largest_side) for each in shown]


def _read(path: Path, mask_path: Path | None, largest_side: int) -> FolderPicture:
    picture = _opened(path, largest_side)
    alpha = picture.getchannel("A") if "A" in picture.getbands() else None
    if mask_path is not None:
        alpha = _opened(mask_path, largest_side).convert("RGB").convert("L")
        alpha = alpha.resize(picture.size, Image.Resampling.BOX)
    elif alpha is not None and alpha.getextrema() == (255, 255):
        alpha = None
    width, height = picture.size
    mask = torch.zeros(1, height, width) if alpha is None else _levels(alpha)[None]
    return FolderPicture(path, _levels(picture.convert("RGB"))[None], mask, _caption(path))


def _opened(path: Path, largest_side: int) -> Image.Image:
    """The picture upright and no larger than asked, in RGB or RGBA."""
    try:
        with Image.open(path) as file:
            file.draft("RGB", (largest_side, largest_side))
            upright = ImageOps.exif_transpose(file)
            clear = "A" in upright.getbands() or "transparency" in upright.info
            picture = _eight_bits(upright).convert("RGBA" if clear else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(
            f"The picture {path.name} in {path.parent} can't be read ({error}); save it anew as "
            "PNG or take it out of the folder."
        ) from error
    if max(picture.size) > largest_side:
        picture.thumbnail((largest_side, largest_side), Image.Resampling.LANCZOS)
    return picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Greys of 16 bits as 8; Pillow would cut them off at 255."""
    if not picture.mode.startswith("I"):
        return picture
    levels = numpy.asarray(picture).astype(numpy.float64) / 257.0
    return Image.fromarray(levels.clip(0, 255).round().astype(numpy.uint8))


def _levels(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(numpy.array(picture, dtype=numpy.uint8)).float() / 255.0


def _caption(path: Path) -> str:
    for ending in CAPTIONS:
        text = path.with_suffix(ending)
        if text.is_file():
            content = text.read_text(encoding="utf-8-sig", errors="replace")
            return " ".join(content.split())
    return ""


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """'picture 2' before 'picture 10'."""
    return list(_pieces(path.stem.lower())), path.name


def _pieces(text: str) -> Iterator[tuple[int, int, str]]:
    for piece in re.findall(r"[0-9]+|[^0-9]+", text):
        yield (0, int(piece), "") if piece.isdigit() and piece.isascii() else (1, 0, piece)
