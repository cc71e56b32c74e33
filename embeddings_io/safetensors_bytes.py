"""Safetensors files of a few megabytes at most, read and written through bytes.

The writer is our own because the same vectors must always give the same bytes: the safetensors
package leaves the order of metadata to chance. Layout: u64 little-endian header length, JSON
header padded with spaces to a multiple of 8, then the tensors' data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from .names import EmbeddingError

MAX_HEADER = 16 * 1024 * 1024
MAX_FILE = 256 * 1024 * 1024
"""Bytes; far above any embedding, far below any checkpoint."""


def to_bytes(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file of float32 tensors, byte for byte decided by its content."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    blocks: list[bytes] = []
    offset = 0
    for key in sorted(tensors):
        rows = tensors[key].detach().to(device="cpu", dtype=torch.float32).contiguous()
        block = rows.numpy().astype("<f4", copy=False).tobytes()
        header[key] = {
            "dtype": "F32",
            "shape": list(rows.shape),
            "data_offsets": [offset, offset + len(block)],
        }
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(blocks)


def read_header(path: Path) -> dict[str, Any]:
    """The header alone: '__metadata__' and, by key, dtype, shape and offsets. Reads no tensor."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER):
            raise EmbeddingError(f"{path.name} is not a whole safetensors file; get it again.")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EmbeddingError(f"{path.name} is not a safetensors file: {error}.") from error
    if not isinstance(header, dict):
        raise EmbeddingError(f"{path.name} is not a safetensors file: its header is no table.")
    return header


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a small file. The file is closed again on return, so it can be replaced.

    Raises EmbeddingError above MAX_FILE bytes, before anything is allocated, and for a broken file.
    """
    size = path.stat().st_size
    if size > MAX_FILE:
        raise EmbeddingError(
            f"{path.name} has {size // 2**20} MiB; an embedding has at most {MAX_FILE // 2**20}."
        )
    try:
        return safetensors.torch.load(path.read_bytes())
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise EmbeddingError(f"{path.name} is a broken safetensors file: {error}.") from error
