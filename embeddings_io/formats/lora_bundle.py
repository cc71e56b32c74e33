"""Embeddings within a LoRA file of any size: only their own bytes are read, all others copied."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ..atomic import temporary_beside, unwritable
from ..embedding import Embedding, EmbeddingError
from ..metadata import HASH, hash_text
from ..names import safe_name
from ..safetensors_bytes import (
    METADATA,
    block_of,
    data_start,
    header_bytes,
    header_entry,
    metadata_of,
    read_header,
    read_some,
    spans,
)
from . import bundle_keys
from .container import Container
from .onetrainer import ALIASES
from .opening import check_file

_BLOCK = 1 << 20
_HASH_BEGINS = f'"{HASH}":"'.encode("ascii")
"""What stands first in a header before the hash; quotes within texts are escaped."""


def names(path: Path) -> list[str]:
    """The names of the bundled embeddings, from the header alone; empty if there are none."""
    return bundle_keys.names(_header(path))


def read(path: Path, names: Collection[str] | None = None) -> list[Embedding]:
    """The bundled embeddings, or those `names`, in their order in the file.

    Raises EmbeddingError for a missing name, and where there are none at all.
    """
    header = _header(path)
    there = bundle_keys.names(header)
    if not there:
        raise EmbeddingError(f"{path.name} has no embeddings bundled inside.")
    missing = sorted(set(names or ()) - set(there))
    if missing:
        raise EmbeddingError(
            f"{path.name} has no bundled embedding {missing[0]!r}; it has {', '.join(there)}."
        )
    keys = [key for key in header if bundle_keys.is_bundled(key)]
    if names is not None:
        keys = [key for key in keys if bundle_keys.split(key)[0] in names]
    tensors = read_some(path, keys)
    container = Container(path, tensors, metadata_of(header), "safetensors")
    return [
        Embedding(safe_name(part.placeholder), part.vectors, part.metadata)
        for part in bundle_keys.read(container)
    ]


def write(
    path: Path, embeddings: Sequence[Embedding], new_path: Path, *, overwrite: bool = False
) -> Path:
    """A copy of a LoRA at `new_path` with the embeddings under bundle_emb.NAME.ENCODER.

    All other tensors and the metadata are kept bit for bit; bundled embeddings of the same names
    are replaced, and so is ModelSpec's hash of the tensors if the LoRA has one. T5's vectors go
    under both names of T5. Raises EmbeddingError if `new_path` is taken (unless `overwrite`) or is
    the LoRA itself, and for names that A1111 could not read.
    """
    _check(path, embeddings, new_path, overwrite)
    header = _header(path)
    replaced = {embedding.name for embedding in embeddings}
    kept = {
        key: entry
        for key, entry in header.items()
        if not (bundle_keys.is_bundled(key) and bundle_keys.split(key)[0] in replaced)
    }
    temporary = temporary_beside(new_path)
    try:
        new_path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            _write(path, kept, embeddings, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, new_path)
    except OSError as error:
        raise unwritable(new_path.parent, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return new_path


def _check(path: Path, embeddings: Sequence[Embedding], new_path: Path, overwrite: bool) -> None:
    if new_path.exists():
        if path.exists() and os.path.samefile(path, new_path):
            raise EmbeddingError(f"{path.name} is the LoRA itself; give the new file another name.")
        if not overwrite:
            raise EmbeddingError(
                f"{new_path.name} exists already in {new_path.parent}; choose another name or "
                "switch overwrite on."
            )
    if not embeddings:
        raise EmbeddingError(f"There is no embedding to bundle into {path.name}.")
    taken: set[str] = set()
    for embedding in embeddings:
        if "." in embedding.name or "/" in embedding.name:
            raise EmbeddingError(
                f"The embedding name '{embedding.name}' has a '.' or '/', at which A1111 would cut "
                "it off in a bundle; rename the embedding."
            )
        if embedding.name in taken:
            raise EmbeddingError(f"Two embeddings are called '{embedding.name}'; rename one.")
        if any(rows.numel() % 2 for rows in embedding.vectors.values()):
            raise EmbeddingError(f"The vectors of '{embedding.name}' have an odd width.")
        taken.add(embedding.name)


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file. Raises EmbeddingError for every other file."""
    try:
        check_file(path)
        return read_header(path)
    except OSError as error:
        raise EmbeddingError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _write(
    path: Path, kept: dict[str, Any], embeddings: Sequence[Embedding], file: BinaryIO
) -> None:
    """The new vectors first, whose length keeps every other tensor aligned, then the old data."""
    start = data_start(path)
    placed = spans(path, kept, path.stat().st_size - start)
    order = sorted(placed, key=lambda key: placed[key])
    header: dict[str, Any] = {METADATA: kept[METADATA]} if METADATA in kept else {}
    digest = hashlib.sha256()
    if HASH in metadata_of(header):
        header[METADATA] = {HASH: "", **header[METADATA]} | {HASH: hash_text(digest)}
    blocks: list[bytes] = []
    offset = 0
    for embedding in embeddings:
        for key, rows in _tensors(embedding).items():
            header[key] = header_entry(rows, offset)
            blocks.append(block_of(rows))
            offset += len(blocks[-1])
    for key in order:
        length = placed[key][1] - placed[key][0]
        header[key] = {**kept[key], "data_offsets": [offset, offset + length]}
        offset += length
    head = header_bytes(header)
    file.write(head)
    with path.open("rb") as old:
        for block in itertools.chain(blocks, _blocks(old, start, (placed[key] for key in order))):
            file.write(block)
            digest.update(block)
    if HASH in metadata_of(header):
        file.seek(head.index(_HASH_BEGINS) + len(_HASH_BEGINS))
        file.write(hash_text(digest).encode("ascii"))


def _blocks(old: BinaryIO, start: int, placed: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The data of the old file's tensors, piece by piece."""
    for first, end in placed:
        old.seek(start + first)
        length = end - first
        while length:
            block = old.read(min(length, _BLOCK))
            if not block:
                raise OSError("the LoRA became shorter while it was read")
            yield block
            length -= len(block)


def _tensors(embedding: Embedding) -> dict[str, Any]:
    tensors = dict(embedding.vectors)
    tensors |= {alias: tensors[key] for alias, key in ALIASES.items() if key in tensors}
    return {f"{bundle_keys.PREFIX}{embedding.name}.{key}": rows for key, rows in tensors.items()}
