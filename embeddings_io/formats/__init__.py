"""Reading embeddings of every format and writing the usual ones. No file is ever executed.

A format is a module with LABEL, SUFFIX, detect(container) -> bool and read(container) -> parts;
a writable one has objection(encoders) and encode(embedding, picture) -> files too (protocol.py).

    read(path) -> Embedding                       the one embedding of a file
    read_many(path) -> list[Embedding]            all of a bundle
    describe(path) -> Description                 what it holds, without reading a tensor
    write(embedding, folder, "a1111_pt") -> list[Path]
    lora_bundle.names / read / write              embeddings inside a LoRA
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from PIL import Image

from ..atomic import place, replace_file, unwritable
from ..embedding import Embedding, EmbeddingError
from ..names import safe_name
from . import (
    a1111_card,
    a1111_pt,
    bundle_keys,
    comfyui,
    diffusers,
    lora_bundle,
    onetrainer,
    original_pt,
    raw_tensor,
    sd3_flux,
    token_list,
)
from .container import Container, Part
from .description import Description
from .opening import check_file, open_container
from .picture_card import CARD_SUFFIXES
from .protocol import Format, Writer
from .refusals import refuse_unknown
from .widths import is_vectors

__all__ = [
    "CARD_SUFFIXES",
    "DEFAULT",
    "FORMATS",
    "WRITERS",
    "Description",
    "check_writable",
    "describe",
    "is_written",
    "lora_bundle",
    "open_container",
    "read",
    "read_many",
    "write",
]

FORMATS: Mapping[str, Format] = {
    "a1111_card": a1111_card,
    "lora_bundle": bundle_keys,
    "original_pt": original_pt,
    "a1111_pt": a1111_pt,
    "token_list": token_list,
    "sd3_flux": sd3_flux,
    "onetrainer": onetrainer,
    "comfyui": comfyui,
    "diffusers": diffusers,
    "raw_tensor": raw_tensor,
}
"""Every format by its id, in order of detection."""

DEFAULT = "comfyui"
WRITERS: Mapping[str, Writer] = {
    DEFAULT: comfyui,
    "a1111_pt": a1111_pt,
    "a1111_card": a1111_card,
    "diffusers": diffusers,
    "sd3_flux": sd3_flux,
}
"""The formats that can be written, the usual one first."""


def read(path: Path, name: str | None = None) -> Embedding:
    """The embedding in a file, called `name`, or the nearest allowed name to the file's own.

    An SDXL pair of diffusers is read through either's first file. Raises EmbeddingError, with one
    sentence naming the file, for everything that is not one embedding: LoRAs and checkpoints are
    refused from their keys before a tensor is read.
    """
    _, parts = _parts(path)
    if len(parts) > 1:
        listed = ", ".join(repr(part.placeholder[:80]) for part in parts[:5])
        raise EmbeddingError(
            f"{path.name} holds {len(parts)} embeddings, {listed}; convert it to get one file each."
        )
    return Embedding(name or safe_name(path.name), parts[0].vectors, parts[0].metadata)


def read_many(path: Path) -> list[Embedding]:
    """All embeddings in a file or in a LoRA of any size, named as they are named there.

    The only one of a file that is no bundle has the file's name. Raises EmbeddingError.
    """
    if _is_lora_with_bundle(path):
        return lora_bundle.read(path)
    format_name, parts = _parts(path)
    if len(parts) == 1 and format_name != "lora_bundle":
        return [Embedding(safe_name(path.name), parts[0].vectors, parts[0].metadata)]
    return [
        Embedding(safe_name(part.placeholder or path.name), part.vectors, part.metadata)
        for part in parts
    ]


def describe(path: Path) -> Description:
    """What a file holds, from its header alone. Raises EmbeddingError as read() does.

    A bundle has all of its names; whether the values are numbers is not looked at.
    """
    format_name, parts = _parts(path, only_shapes=True)
    shapes = {}
    for encoder, rows in parts[0].vectors.items():
        if not is_vectors(rows) or not rows.numel() or not rows.is_floating_point():
            raise EmbeddingError(
                f"{path.name}: {encoder} holds {list(rows.shape)} of {rows.dtype}, not "
                "floating-point vectors [vectors, width]."
            )
        shapes[encoder] = (rows.numel() // rows.shape[-1], int(rows.shape[-1]))
    bundled = len(parts) > 1 or format_name == "lora_bundle"
    names = [part.placeholder if bundled else path.name for part in parts]
    return Description(
        format_name,
        FORMATS[format_name].LABEL,
        shapes,
        parts[0].metadata,
        tuple(map(safe_name, names)),
    )


def check_writable(embedding: Embedding | Collection[str], format_name: str) -> None:
    """Raise EmbeddingError if the format is unknown or cannot hold these encoders."""
    encoders = embedding.vectors if isinstance(embedding, Embedding) else embedding
    if format_name not in WRITERS:
        raise EmbeddingError(
            f"'{format_name[:80]}' is no format to write; choose {', '.join(WRITERS)}."
        )
    objection = WRITERS[format_name].objection(tuple(encoders))
    if objection:
        raise EmbeddingError(
            f"An embedding for {' and '.join(encoders)} cannot be written as {format_name}, which "
            f"{objection}."
        )


def write(
    embedding: Embedding,
    folder: Path,
    format_name: str = DEFAULT,
    *,
    overwrite: bool = False,
    thumbnail: Image.Image | None = None,
) -> list[Path]:
    """Write an embedding's file, or two for diffusers' SDXL pair, below `folder`.

    Each is written whole or not at all, and the same embedding gives the same bytes; writing what
    is there already is no overwrite. A card shows the thumbnail, or a picture of the vectors.
    Raises EmbeddingError if a file is there (unless `overwrite`), if the format cannot hold these
    encoders, and if the folder cannot be written to.
    """
    files = _files(embedding, folder, format_name, thumbnail)
    taken = [path for path, content in files.items() if path.exists() and not _is(path, content)]
    if taken and not overwrite:
        raise EmbeddingError(
            f"{taken[0].name} exists already in {taken[0].parent}; choose another name or switch "
            "overwrite on."
        )
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, content)
        except OSError as error:
            raise unwritable(path.parent, error) from error
    return list(files)


def is_written(
    embedding: Embedding,
    folder: Path,
    format_name: str = DEFAULT,
    *,
    thumbnail: Image.Image | None = None,
) -> bool:
    """True if write() would change nothing."""
    files = _files(embedding, folder, format_name, thumbnail)
    return all(path.exists() and _is(path, content) for path, content in files.items())


def _files(
    embedding: Embedding, folder: Path, format_name: str, picture: Image.Image | None
) -> dict[Path, bytes]:
    check_writable(embedding, format_name)
    encoded = WRITERS[format_name].encode(embedding, picture)
    return {place(folder, embedding.name, ending): content for ending, content in encoded.items()}


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


def _parts(path: Path, *, only_shapes: bool = False) -> tuple[str, list[Part]]:
    """The format's id and what it reads."""
    container = open_container(path, only_shapes=only_shapes)
    for format_name, module in FORMATS.items():
        if module.detect(container):
            parts = module.read(container)
            if module is diffusers:
                parts = _with_second(container, parts, only_shapes)
            return format_name, parts
    raise refuse_unknown(container)


def _with_second(first: Container, parts: list[Part], only_shapes: bool) -> list[Part]:
    """The parts of diffusers' file, joined with those of its second file if there is one."""
    path = Path(diffusers.second_file(str(first.path)))
    if not diffusers.is_first(first) or not path.is_file() or not _lie_together(first.path, path):
        return parts
    try:
        second = open_container(path, only_shapes=only_shapes)
    except EmbeddingError:
        return parts
    if not diffusers.are_pair(first, second):
        return parts
    joined = parts[0].vectors | diffusers.read(second)[0].vectors
    return [Part(joined, parts[0].metadata, parts[0].placeholder)]


def _lie_together(first: Path, second: Path) -> bool:
    """False where a link leads from one file's side to another folder."""
    if not second.is_symlink():
        return True
    return os.path.dirname(os.path.realpath(first)) == os.path.dirname(os.path.realpath(second))


def _is_lora_with_bundle(path: Path) -> bool:
    try:
        check_file(path)
        return bool(lora_bundle.names(path))
    except (EmbeddingError, OSError):
        return False
