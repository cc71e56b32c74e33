"""Replacing a file so that a crash or a full disk leaves the old one whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from . import written
from .names import EmbeddingError


def replace_file(path: Path, content: bytes) -> None:
    """Write the bytes beside `path`, then put them in its place. Raises OSError."""
    temporary = temporary_beside(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        written.note()
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that no listing of embeddings shows."""
    return path.with_name(f".{path.stem[:60]}-{secrets.token_hex(4)}.tmp")


def place(folder: Path, name: str, ending: str) -> Path:
    """<folder>/<name><ending>, with the name's sub-folders.

    Raises EmbeddingError where a link among the sub-folders leads out of the folder.
    """
    path = folder.joinpath(*f"{name}{ending}".split("/"))
    if "/" in name:
        inside, outside = os.path.realpath(path.parent), os.path.realpath(folder)
        if os.path.commonpath((inside, outside)) != outside:
            raise EmbeddingError(
                f"The embedding name '{name}' leads through a link out of {folder}; choose "
                "another sub-folder."
            )
    return path


def check_folder(folder: Path) -> None:
    """Raise EmbeddingError unless a file could be made in the folder, which need not exist yet."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> EmbeddingError:
    """The error for a folder that cannot be written to."""
    reason = error.strerror or str(error)
    return EmbeddingError(
        f"Cannot write to {folder}: {reason}. Free it, or set another embeddings folder in "
        "extra_model_paths.yaml."
    )
