"""Writing an embedding and its thumbnail so that a crash or a full disk leaves the old file whole.

check_target(name, folder, overwrite=...) raises now what save() would raise later; call it before
a long training.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image

from .embedding import Embedding, EmbeddingError
from .formats import single_tensor
from .metadata import retitled
from .names import check_name
from .safetensors_bytes import to_bytes
from .thumbnails import SUFFIX, png_bytes

EXTENSION = ".safetensors"
RIVALS = (EXTENSION, ".pt", ".bin")
"""Endings under which ComfyUI finds a name that is written without one."""


def save(
    embedding: Embedding,
    folder: Path,
    *,
    overwrite: bool = False,
    thumbnail: Image.Image | None = None,
) -> Path:
    """Write <folder>/<name>.safetensors and, with a thumbnail, <name>.preview.png.

    The same embedding always gives the same bytes; writing what is there already is no overwrite.
    Raises EmbeddingError if the name is taken and `overwrite` is False, or if writing fails.
    """
    content = to_bytes(
        stored_tensors(embedding.vectors), retitled(embedding.metadata, embedding.name)
    )
    path = target(embedding.name, folder)
    if not (path.is_file() and path.read_bytes() == content):
        check_target(embedding.name, folder, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if thumbnail is not None:
            _replace(
                path.with_name(path.name.removesuffix(EXTENSION) + SUFFIX), png_bytes(thumbnail)
            )
        _replace(path, content)
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    return path


def check_target(name: str, folder: Path, *, overwrite: bool = False) -> Path:
    """The path that `name` would be saved to; nothing is left behind in the folder.

    Raises EmbeddingError for a bad name, a taken one unless `overwrite`, and a folder that
    cannot be written to.
    """
    check_name(name)
    path = target(name, folder)
    taken = [path.with_name(Path(name).name + ending) for ending in RIVALS]
    taken = [file for file in taken if file.exists()]
    if taken and not overwrite:
        raise EmbeddingError(
            f"An embedding '{name}' exists already ({taken[0].name} in {taken[0].parent}); choose "
            "another name or switch overwrite on."
        )
    existing = next(parent for parent in path.parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    return path


def target(name: str, folder: Path) -> Path:
    """<folder>/<name>.safetensors, with the name's sub-folders."""
    return folder.joinpath(*f"{name}{EXTENSION}".split("/"))


def stored_tensors(vectors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The keys to store: emb_params where the width alone decides the encoder, else its key."""
    if set(vectors) <= {"clip_l", "clip_h"}:
        return single_tensor.write(vectors) or vectors
    return vectors


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _unwritable(folder: Path, error: OSError) -> EmbeddingError:
    reason = error.strerror or str(error)
    return EmbeddingError(
        f"Cannot write to {folder}: {reason}. Free it, or set another embeddings folder in "
        "extra_model_paths.yaml."
    )
