"""Reads the tensors and plain values of a torch.save file without executing any of it.

A torch file is a program for a small stack machine that may call any function. Here the program is
only read: the few calls that describe tensors and tables are understood, inert values stand for
harmless others, and everything else is refused by name. Sizes are checked before any allocation.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..embedding import EmbeddingError
from .stack_program import StackProgram, TensorRecord

MAX_PROGRAM = 16 * 1024 * 1024
MAX_VALUES = 100_000
MAX_DEPTH = 8
ZIP_MAGIC = b"PK\x03\x04"


def read_torch_file(
    path: Path, max_bytes: int, look_at_keys: Callable[[Iterable[str]], None]
) -> object:
    """The file's object: tables, lists, tensors on the CPU, numbers and text.

    `look_at_keys` sees the top level's keys, and may raise, before a tensor is read.
    Raises EmbeddingError for other files, for calls beyond tensors and above `max_bytes`.
    """
    with path.open("rb") as file:
        if file.read(4) != ZIP_MAGIC:
            raise EmbeddingError(
                f"{path.name} is not in torch's zip format; if it is an embedding of an old "
                "trainer, load and save it once with a current torch."
            )
    try:
        with zipfile.ZipFile(path) as archive:
            return _Reader(path, archive, max_bytes).read(look_at_keys)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise EmbeddingError(f"{path.name} is a broken torch file: {error}.") from error


@dataclass
class _Reader:
    path: Path
    archive: zipfile.ZipFile
    max_bytes: int

    def read(self, look_at_keys: Callable[[Iterable[str]], None]) -> object:
        programs = [name for name in self.archive.namelist() if name.endswith("/data.pkl")]
        if len(programs) != 1:
            raise EmbeddingError(f"{self.path.name} is a zip archive but not a torch file.")
        self.root = programs[0].removesuffix("data.pkl")
        data = StackProgram(self.path.name, self._entry(programs[0], MAX_PROGRAM)).run()
        if isinstance(data, Mapping):
            look_at_keys([str(key) for key in data])
        if self._wrong_byte_order():
            raise EmbeddingError(f"{self.path.name} was written on a big-endian machine.")
        self.left = self.max_bytes
        self.values_left = MAX_VALUES
        return self._with_tensors(data, depth=0)

    def _wrong_byte_order(self) -> bool:
        name = f"{self.root}byteorder"
        return name in self.archive.namelist() and self._entry(name, 16) != b"little"

    def _entry(self, name: str, limit: int) -> bytes:
        try:
            info = self.archive.getinfo(name)
        except KeyError:
            raise EmbeddingError(
                f"{self.path.name} lacks its part '{name}'; get it again."
            ) from None
        if info.file_size > limit:
            raise EmbeddingError(
                f"{self.path.name} has a part of {info.file_size} bytes, too large for an "
                "embedding."
            )
        with self.archive.open(info) as part:
            return part.read(limit)

    def _with_tensors(self, value: object, depth: int) -> object:
        self.values_left -= 1
        if depth > MAX_DEPTH or self.values_left < 0:
            raise EmbeddingError(f"{self.path.name} holds too many values for an embedding.")
        if isinstance(value, TensorRecord):
            return self._tensor(value)
        if isinstance(value, Mapping):
            return {key: self._with_tensors(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._with_tensors(item, depth + 1) for item in value]
        return value

    def _tensor(self, record: TensorRecord) -> torch.Tensor:
        width = torch.empty(0, dtype=record.dtype).element_size()
        last = record.offset + sum(
            (length - 1) * step for length, step in zip(record.shape, record.strides, strict=True)
        )
        self.left -= math.prod(record.shape) * width
        if self.left < 0:
            raise EmbeddingError(
                f"{self.path.name} has tensors above {self.max_bytes // 2**20} MiB, "
                "too large for an embedding."
            )
        if 0 in record.shape:
            return torch.empty(record.shape, dtype=record.dtype)
        block = self._entry(f"{self.root}data/{record.storage}", self.max_bytes)
        if (last + 1) * width > len(block):
            raise EmbeddingError(f"{self.path.name} is cut short; get it again.")
        flat = torch.frombuffer(bytearray(block), dtype=record.dtype, count=len(block) // width)
        return flat.as_strided(record.shape, record.strides, record.offset).clone()
