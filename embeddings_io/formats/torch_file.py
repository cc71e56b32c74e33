"""Reads the tensors and plain values of a torch.save file without executing any of it.

A torch file is a program for a small stack machine that may call any function. Here the program is
only read: the few calls that describe tensors and tables are understood, inert values stand for
harmless others, and everything else is refused by name. Sizes are checked before any allocation:
nothing that a file asks for may have more than 16 times its own size, and some.
"""

from __future__ import annotations

import contextlib
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import torch

from ..embedding import EmbeddingError
from .legacy_torch_file import LEGACY_MAGIC, LegacyParts
from .stack_program import TensorRecord
from .torch_zip import ZIP_MAGIC, ZipParts

MAX_VALUES = 100_000
MAX_DEPTH = 8
MAX_GROWTH = 16
ALLOWANCE = 4 * 1024 * 1024

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    UnicodeDecodeError,
    OverflowError,
    RuntimeError,  # what zipfile cannot unpack, too
)


class Parts(Protocol):
    """The two layouts of a torch file: its object, and the bytes of a named storage."""

    def program(self) -> object:
        """The object, with records in place of tensors."""

    def storage(self, key: str, dtype: torch.dtype, at_most: int) -> bytearray:
        """A storage's bytes. Raises EmbeddingError if there are more than `at_most`."""


def is_torch_file(head: bytes) -> bool:
    """True if a file that begins like this is a zip archive or a torch file older than 1.6."""
    return head.startswith((ZIP_MAGIC, LEGACY_MAGIC))


def read_torch_file(
    path: Path,
    max_bytes: int,
    look_at_keys: Callable[[Iterable[str]], None],
    *,
    only_shapes: bool = False,
) -> object:
    """The file's object: tables, lists, tensors on the CPU, numbers and text.

    `look_at_keys` sees the top level's keys, and may raise, before a tensor is read; with
    `only_shapes` no tensor is, and those that come are on torch's meta device.
    Raises EmbeddingError for other files, for calls beyond tensors and above `max_bytes`.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if not is_torch_file(head):
        raise EmbeddingError(
            f"{path.name} is no torch file, and no safetensors file or picture card either."
        )
    try:
        layout: type[ZipParts | LegacyParts] = ZipParts if head[:4] == ZIP_MAGIC else LegacyParts
        with contextlib.closing(layout(path)) as parts:
            data = parts.program()
            if isinstance(data, Mapping):
                look_at_keys([str(key) for key in data])
            size = path.stat().st_size
            budget = min(max_bytes, MAX_GROWTH * size + ALLOWANCE)
            return _Reader(path, parts, budget, only_shapes).with_tensors(data, depth=0)
    except _BROKEN as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise EmbeddingError(f"{path.name} is a broken torch file: {reason}.") from error


class _Reader:
    """Puts tensors in place of their records, as long as the budget lasts."""

    def __init__(self, path: Path, parts: Parts, budget: int, only_shapes: bool) -> None:
        self.path = path
        self.parts = parts
        self.left = self.budget = budget
        self.only_shapes = only_shapes
        self.values_left = MAX_VALUES
        self.storages: dict[str, bytearray] = {}

    def with_tensors(self, value: object, depth: int) -> object:
        """The value with tensors in place of their records, all the way down."""
        self.values_left -= 1
        if depth > MAX_DEPTH or self.values_left < 0:
            raise EmbeddingError(f"{self.path.name} holds too many values for an embedding.")
        if isinstance(value, TensorRecord):
            return self._tensor(value)
        if isinstance(value, Mapping):
            return {key: self.with_tensors(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.with_tensors(item, depth + 1) for item in value]
        return value

    def _tensor(self, record: TensorRecord) -> torch.Tensor:
        width = record.dtype.itemsize
        self._spend(math.prod(record.shape) * width)
        if self.only_shapes:
            return torch.empty(record.shape, dtype=record.dtype, device="meta")
        if 0 in record.shape:
            return torch.empty(record.shape, dtype=record.dtype)
        last = record.offset + sum(
            (length - 1) * step for length, step in zip(record.shape, record.strides, strict=True)
        )
        block = self._storage(record)
        if (last + 1) * width > len(block):
            raise EmbeddingError(f"{self.path.name} is cut short; get it again.")
        flat = torch.frombuffer(block, dtype=record.dtype, count=len(block) // width)
        return flat.as_strided(record.shape, record.strides, record.offset).clone()

    def _storage(self, record: TensorRecord) -> bytearray:
        if record.storage not in self.storages:
            block = self.parts.storage(record.storage, record.dtype, self.left)
            self._spend(len(block))
            self.storages[record.storage] = block
        return self.storages[record.storage]

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise EmbeddingError(
                f"{self.path.name} has tensors above {self.budget // 2**20} MiB, too large for an "
                "embedding."
            )
