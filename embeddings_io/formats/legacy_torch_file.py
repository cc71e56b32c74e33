"""The layout of a torch file before torch 1.6: five programs in a row, then the storages.

The programs are a magic number, the layout's version, facts of the machine, the object, and the
storages' keys in order; each storage is a 64-bit count and so many little-endian elements.
"""

from __future__ import annotations

import struct
from pathlib import Path

import torch

from ..embedding import EmbeddingError
from .stack_program import StackProgram

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
VERSION = 1001
MAX_FILE = 256 * 1024 * 1024


class LegacyParts:
    """The file's bytes in memory. Raises EmbeddingError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size > MAX_FILE:
            raise EmbeddingError(
                f"{path.name} is above {MAX_FILE // 2**20} MiB, too large for an embedding."
            )
        self.content = path.read_bytes()
        self.storages: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        """Let go of the bytes."""
        self.content = b""

    def program(self) -> object:
        """The object, with records in place of tensors; finds where the storages lie."""
        at = len(LEGACY_MAGIC)
        version, at = self._run(at)
        machine, at = self._run(at)
        if version != VERSION or not isinstance(machine, dict):
            raise EmbeddingError(f"{self.path.name} is a torch file of an unknown version.")
        if machine.get("little_endian") is not True:
            raise EmbeddingError(f"{self.path.name} was written on a big-endian machine.")
        program = StackProgram(self.path.name, self.content, at)
        data = program.run()
        keys, at = self._run(program.at)
        self._find_storages(keys, program.storages, at)
        return data

    def storage(self, key: str, dtype: torch.dtype, at_most: int) -> bytearray:
        """A storage's bytes. Raises EmbeddingError if there are more than `at_most`."""
        start, end = self.storages.get(key, (0, -1))
        if not start <= end <= len(self.content):
            raise EmbeddingError(f"{self.path.name} is cut short; get it again.")
        if end - start > at_most:
            raise EmbeddingError(f"{self.path.name} is too large for an embedding.")
        return bytearray(self.content[start:end])

    def _run(self, at: int) -> tuple[object, int]:
        program = StackProgram(self.path.name, self.content, at)
        return program.run(), program.at

    def _find_storages(self, keys: object, dtypes: dict[str, torch.dtype], at: int) -> None:
        for key in keys if isinstance(keys, list) else []:
            if key not in dtypes or at + 8 > len(self.content):
                break
            (count,) = struct.unpack_from("<q", self.content, at)
            if count < 0:
                break
            end = at + 8 + count * dtypes[key].itemsize
            self.storages[key] = (at + 8, end)
            at = end
