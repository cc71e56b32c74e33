"""Changing what a safetensors file says about itself, and not a bit of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .atomic import replace_file, unwritable
from .embedding import EmbeddingError
from .metadata import hashed
from .safetensors_bytes import (
    MAX_FILE,
    METADATA,
    data_start,
    described,
    metadata_of,
    read_header,
)

ENDINGS = (".safetensors", ".sft")


def edit_metadata(
    path: Path, change: Callable[[Mapping[str, str]], Mapping[str, str]]
) -> dict[str, str]:
    """Replace the metadata of the file by `change` of it; the metadata it has now.

    The tensors' bytes, their order and their places stay as they are, and the file is the old one
    or the new one whatever happens. Entries that are no texts are dropped, as safetensors wants.
    Raises EmbeddingError for other kinds of files, broken ones, and folders that are read-only.
    """
    if path.suffix.lower() not in ENDINGS:
        raise EmbeddingError(
            f"{path.name} cannot hold a description; convert it to safetensors first."
        )
    path = path.resolve()
    try:
        if path.stat().st_size > MAX_FILE:
            raise EmbeddingError(f"{path.name} is far larger than any embedding; left as it is.")
        header = read_header(path)
        data = path.read_bytes()[data_start(path) :]
        metadata = hashed(change(metadata_of(header)), data)
        tensors = {key: entry for key, entry in header.items() if key != METADATA}
        replace_file(path, described(tensors, metadata, data) + data)
    except OSError as error:
        raise unwritable(path.parent, error) from error
    return metadata
