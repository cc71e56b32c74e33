"""Safetensors files of a few megabytes at most, read and written through bytes.

The writer is our own because the same vectors must always give the same bytes: the safetensors
package leaves the order of metadata to chance. Layout: u64 little-endian header length, JSON
header padded with spaces to a multiple of 8, then the tensors' data.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

import safetensors
import safetensors.torch
import torch

from .metadata import hashed
from .names import EmbeddingError

MAX_HEADER = 16 * 1024 * 1024
MAX_FILE = 256 * 1024 * 1024
"""Bytes; far above any embedding, far below any checkpoint."""
MAX_ENTRIES = 100_000

METADATA = "__metadata__"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Entry:
    """A tensor of a file: `start` and `end` count in bytes from the beginning of the data."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int


def to_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of float32 tensors, byte for byte decided by its content."""
    entries: dict[str, Any] = {}
    blocks: list[bytes] = []
    offset = 0
    for key in sorted(tensors):
        block = block_of(tensors[key])
        entries[key] = header_entry(tensors[key], offset)
        blocks.append(block)
        offset += len(block)
    data = b"".join(blocks)
    return described(entries, metadata, data) + data


def described(entries: Mapping[str, Any], metadata: Mapping[str, str], data: bytes) -> bytes:
    """Length and header of a file with these entries and data, ModelSpec's hash among its texts."""
    said = hashed(metadata, data)
    return header_bytes({METADATA: dict(sorted(said.items())), **entries} if said else entries)


def block_of(rows: torch.Tensor) -> bytes:
    """A tensor's data as float32."""
    rows = rows.detach().to(device="cpu", dtype=torch.float32).contiguous()
    return rows.numpy().astype("<f4", copy=False).tobytes()


def header_entry(rows: torch.Tensor, offset: int) -> dict[str, Any]:
    """What the header says of a float32 tensor whose data starts at `offset`."""
    span = [offset, offset + 4 * rows.numel()]
    return {"dtype": "F32", "shape": list(rows.shape), "data_offsets": span}


def header_bytes(header: Mapping[str, Any]) -> bytes:
    """Length and header, padded so that the data starts at a multiple of 8."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_header(path: Path) -> dict[str, Any]:
    """The header alone: '__metadata__' and, by key, dtype, shape and offsets. Reads no tensor."""
    return _header_and_data_start(path)[0]


def data_start(path: Path) -> int:
    """Where in the file the tensors' data begins, in bytes."""
    return _header_and_data_start(path)[1]


def metadata_of(header: Mapping[str, Any]) -> dict[str, str]:
    """The header's texts; whatever else is in their place is left out."""
    metadata = header.get(METADATA)
    if not isinstance(metadata, dict):
        return {}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def spans(path: Path, header: Mapping[str, Any], size: int) -> dict[str, tuple[int, int]]:
    """Start and end of every tensor in a file with `size` bytes of data, checked against it."""
    found = {key: _span(entry, size) for key, entry in header.items() if key != METADATA}
    return {key: span if span else _misplaced(path, key) for key, span in found.items()}


def entries(path: Path, header: Mapping[str, Any], size: int) -> dict[str, Entry]:
    """Every tensor of a header whose file has `size` bytes of data, checked against that size."""
    found = {}
    for key, span in spans(path, header, size).items():
        named, shape = header[key].get("dtype"), header[key].get("shape")
        dtype = DTYPES.get(named) if isinstance(named, str) else None
        if dtype is None:
            raise EmbeddingError(f"{path.name} holds numbers of the kind {str(named)[:20]!r}.")
        if not _are_sizes(shape, 8) or math.prod(shape) * dtype.itemsize != span[1] - span[0]:
            _misplaced(path, key)
        found[key] = Entry(dtype, tuple(shape), *span)
    return found


def read_shapes(path: Path, header: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors without values (on torch's meta device) in place of a file's own. Reads no tensor."""
    found = entries(path, header, path.stat().st_size - data_start(path))
    return {
        key: torch.empty(entry.shape, dtype=entry.dtype, device="meta")
        for key, entry in found.items()
    }


def read_some(path: Path, keys: Collection[str]) -> dict[str, torch.Tensor]:
    """Some tensors of a file of any size. Raises EmbeddingError above MAX_FILE bytes of them."""
    header, start = _header_and_data_start(path)
    wanted = {key: entry for key, entry in header.items() if key in keys}
    found = entries(path, wanted, path.stat().st_size - start)
    if sum(entry.end - entry.start for entry in found.values()) > MAX_FILE:
        raise EmbeddingError(f"{path.name} has embeddings above {MAX_FILE // 2**20} MiB.")
    tensors = {}
    with path.open("rb") as file:
        for key, entry in found.items():
            file.seek(start + entry.start)
            block = bytearray(file.read(entry.end - entry.start))
            flat = torch.frombuffer(block, dtype=entry.dtype) if block else torch.empty(0)
            tensors[key] = flat.to(entry.dtype).reshape(entry.shape)
    return tensors


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a small file, in its header's order; safetensors leaves that to chance.

    The file is closed again on return, so it can be replaced. Raises EmbeddingError above MAX_FILE
    bytes, before anything is allocated, and for a broken file.
    """
    size = path.stat().st_size
    if size > MAX_FILE:
        raise EmbeddingError(
            f"{path.name} has {size // 2**20} MiB; an embedding has at most {MAX_FILE // 2**20}."
        )
    try:
        found = safetensors.torch.load(path.read_bytes())
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise EmbeddingError(
            f"{path.name} is a broken safetensors file: {_in_one_line(error)}."
        ) from error
    return {key: found[key] for key in read_header(path) if key in found}


def _header_and_data_start(path: Path) -> tuple[dict[str, Any], int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            raise EmbeddingError(f"{path.name} is not a whole safetensors file; get it again.")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        reason = _in_one_line(error)
        raise EmbeddingError(f"{path.name} is not a safetensors file: {reason}.") from error
    if not isinstance(header, dict):
        raise EmbeddingError(f"{path.name} is not a safetensors file: its header is no table.")
    if len(header) > MAX_ENTRIES:
        raise EmbeddingError(f"{path.name} has {len(header)} tensors, too many for an embedding.")
    return header, 8 + length


def _span(entry: object, size: int) -> tuple[int, int] | None:
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if not _are_sizes(offsets, 2) or len(offsets) != 2:
        return None
    start, end = offsets
    return (start, end) if start <= end <= size else None


def _misplaced(path: Path, key: str) -> NoReturn:
    raise EmbeddingError(
        f"{path.name} is a broken safetensors file: its tensor {key[:80]!r} is not where its "
        "header says."
    )


def _are_sizes(numbers: object, at_most: int) -> TypeGuard[list[int]]:
    return (
        isinstance(numbers, list)
        and len(numbers) <= at_most
        and all(type(number) is int and 0 <= number < 2**40 for number in numbers)
    )


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200]
