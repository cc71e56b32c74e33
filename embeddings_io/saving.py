"""Writing an embedding and its thumbnail so that a crash or a full disk leaves the old file whole.

check_target(name, folder, overwrite=...) raises now what save() would raise later; call it before
a long training.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from . import formats
from .atomic import check_folder, place, replace_file, unwritable
from .embedding import Embedding, EmbeddingError
from .names import check_name
from .thumbnails import SUFFIX, png_bytes

__all__ = ["EXTENSION", "RIVALS", "check_target", "replace_file", "save", "save_sidecar", "target"]

EXTENSION = ".safetensors"
RIVALS = (EXTENSION, ".pt", ".bin")
"""Endings under which ComfyUI finds a name that is written without one, the first one first."""


def save(
    embedding: Embedding,
    folder: Path,
    *,
    format_name: str = formats.DEFAULT,
    overwrite: bool = False,
    thumbnail: Image.Image | None = None,
) -> Path:
    """Write <folder>/<name>.safetensors and, with a thumbnail, <name>.preview.png.

    Other formats have other endings. The same embedding always gives the same bytes; writing what
    is there already is no overwrite. Raises EmbeddingError if the name is taken and `overwrite`
    is False, if the format cannot hold these encoders, or if writing fails.
    """
    formats.check_writable(embedding, format_name)
    ending = formats.WRITERS[format_name].SUFFIX
    path = target(embedding.name, folder, ending)
    if not formats.is_written(embedding, folder, format_name, thumbnail=thumbnail):
        check_target(embedding.name, folder, overwrite=overwrite, ending=ending)
    paths = formats.write(embedding, folder, format_name, overwrite=True, thumbnail=thumbnail)
    if thumbnail is not None:
        save_sidecar(path, thumbnail)
    return paths[0]


def save_sidecar(path: Path, picture: Image.Image) -> Path:
    """Write the picture that stands for an embedding's file beside it. Raises EmbeddingError."""
    sidecar = path.with_name(path.name.removesuffix(path.suffix) + SUFFIX)
    try:
        replace_file(sidecar, png_bytes(picture))
    except OSError as error:
        raise unwritable(path.parent, error) from error
    return sidecar


def check_target(
    name: str, folder: Path, *, overwrite: bool = False, ending: str = EXTENSION
) -> Path:
    """The path that `name` would be saved to; nothing is left behind in the folder.

    Raises EmbeddingError for a bad name, a taken one unless `overwrite`, and a folder that
    cannot be written to.
    """
    check_name(name)
    path = target(name, folder, ending)
    rivals = RIVALS if ending in RIVALS else (ending,)
    taken = [path.with_name(Path(name).name + rival) for rival in rivals]
    taken = [file for file in taken if file.exists()]
    if taken and not overwrite:
        raise EmbeddingError(
            f"An embedding '{name}' exists already ({taken[0].name} in {taken[0].parent}); choose "
            "another name or switch overwrite on."
        )
    if taken and ending in RIVALS and taken[0].suffix in RIVALS[: RIVALS.index(ending)]:
        raise EmbeddingError(
            f"{taken[0].name} in {taken[0].parent} hides {path.name} from ComfyUI; choose another "
            "name, or delete it first."
        )
    check_folder(path.parent)
    return path


def target(name: str, folder: Path, ending: str = EXTENSION) -> Path:
    """<folder>/<name>.safetensors, with the name's sub-folders."""
    return place(folder, name, ending)
