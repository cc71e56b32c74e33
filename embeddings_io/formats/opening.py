"""Opening a file by what it holds, not by its ending, and only where it is an ordinary file."""

from __future__ import annotations

import stat
from pathlib import Path

from ..embedding import EmbeddingError
from ..safetensors_bytes import (
    MAX_FILE,
    metadata_of,
    read_header,
    read_shapes,
    read_tensors,
)
from .container import Container
from .picture_card import CARD_SUFFIXES, is_picture, read_card
from .refusals import refuse_by_keys, refuse_conditioning
from .torch_file import is_torch_file, read_torch_file

SAFETENSORS_SUFFIXES = (".safetensors", ".sft")

_FOREIGN = (
    (b"GGUF", "is a GGUF model, not an embedding; put it into models/diffusion_models"),
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS in place of the file itself; get the file",
    ),
    (b"<!doctype html", "is a web page that was saved under this name; get the file itself"),
    (b"<html", "is a web page that was saved under this name; get the file itself"),
    (b"\x1f\x8b", "is a gzip archive; unpack it first"),
    (b"Rar!", "is a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "is a 7-Zip archive; unpack it first"),
)


def open_container(path: Path, *, only_shapes: bool = False) -> Container:
    """The content of a file by its kind, after its keys and shapes were looked at.

    `only_shapes` reads no tensor: those that come have shapes and no values. Raises
    EmbeddingError for everything that cannot be an embedding.
    """
    try:
        container = _open(path, only_shapes)
    except OSError as error:
        raise EmbeddingError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    refuse_conditioning(container)
    return container


def check_file(path: Path) -> None:
    """Raise EmbeddingError unless the path is an ordinary file with something in it, or OSError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device"
        raise EmbeddingError(f"{path.name} is {kind}, not a file.")
    if status.st_size == 0:
        raise EmbeddingError(f"{path.name} is empty; get it again.")


def _open(path: Path, only_shapes: bool) -> Container:
    check_file(path)
    with path.open("rb") as file:
        head = file.read(64)
    for beginning, sentence in _FOREIGN:
        if head.lower().startswith(beginning.lower()):
            raise EmbeddingError(f"{path.name} {sentence}.")
    if is_picture(head):
        return Container(path, read_card(path, head), kind="card")
    suffix = path.suffix.lower()
    if suffix in CARD_SUFFIXES:
        raise EmbeddingError(f"{path.name} is not a PNG or WebP picture.")
    if is_torch_file(head) or (suffix not in SAFETENSORS_SUFFIXES and head[8:9] != b"{"):
        data = read_torch_file(
            path, MAX_FILE, lambda keys: refuse_by_keys(path, keys), only_shapes=only_shapes
        )
        return Container(path, data)
    header = read_header(path)
    refuse_by_keys(path, (key for key in header if key != "__metadata__"))
    tensors = read_shapes(path, header) if only_shapes else read_tensors(path)
    return Container(path, tensors, metadata_of(header), "safetensors")
