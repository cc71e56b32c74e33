"""The layout of a torch file since torch 1.6: a zip archive of a program and its storages."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import torch

from ..embedding import EmbeddingError
from .stack_program import StackProgram

ZIP_MAGIC = b"PK\x03\x04"
MAX_PROGRAM = 4 * 1024 * 1024
MAX_DIRECTORY = 4 * 1024 * 1024
MAX_GROWTH = 64

_DIRECTORY_ENDS = ((b"PK\x05\x06", "<I", 12), (b"PK\x06\x06", "<Q", 40))
"""Signature, layout and place of the directory's size, in the old and in the 64-bit form."""


def archive_of(value: object) -> bytes:
    """A torch file of the parts that every torch and A1111 know: program, version and storages.

    A1111's check of names refuses whatever else torch puts into its archives today.
    """
    whole, plain = io.BytesIO(), io.BytesIO()
    torch.save(value, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(plain, "w") as new:
        for name in old.namelist():
            _, _, part = name.partition("/")
            if part in ("data.pkl", "version") or part.startswith("data/"):
                info = zipfile.ZipInfo(f"archive/{part}")
                info.create_system = 3
                new.writestr(info, old.read(name))
    return plain.getvalue()


class ZipParts:
    """An open archive. Raises EmbeddingError, and what zipfile raises for broken ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _check_directory(path)
        self.archive = zipfile.ZipFile(path)
        self.root = ""

    def close(self) -> None:
        """Let go of the file."""
        self.archive.close()

    def program(self) -> object:
        """The object, with records in place of tensors."""
        programs = [name for name in self.archive.namelist() if name.endswith("/data.pkl")]
        if len(programs) != 1:
            raise EmbeddingError(
                f"{self.path.name} is a zip archive but not a torch file; unpack it first."
            )
        self.root = programs[0].removesuffix("data.pkl")
        program = self._entry(programs[0], MAX_PROGRAM)
        data = StackProgram(self.path.name, bytes(program)).run()
        byte_order = f"{self.root}byteorder"
        if byte_order in self.archive.NameToInfo and self._entry(byte_order, 16) != b"little":
            raise EmbeddingError(f"{self.path.name} was written on a big-endian machine.")
        return data

    def storage(self, key: str, dtype: torch.dtype, at_most: int) -> bytearray:
        """A storage's bytes. Raises EmbeddingError if there are more than `at_most`."""
        return self._entry(f"{self.root}data/{key}", at_most)

    def _entry(self, name: str, limit: int) -> bytearray:
        info = self.archive.NameToInfo.get(name)
        if info is None:
            raise EmbeddingError(f"{self.path.name} lacks its part {name[:80]!r}; get it again.")
        limit = min(limit, MAX_GROWTH * info.compress_size + 1024)
        if info.file_size > limit:
            raise EmbeddingError(
                f"{self.path.name} has a part of {info.file_size} bytes, too large for an "
                "embedding."
            )
        block = bytearray(info.file_size)
        filled = 0
        with self.archive.open(info) as part:
            while filled < len(block) and (piece := part.read(2**20)):
                block[filled : filled + len(piece)] = piece
                filled += len(piece)
        if filled < len(block):
            raise EOFError("a part is shorter than it says")
        return block


def _check_directory(path: Path) -> None:
    """Look at the size of the archive's directory before zipfile makes objects of it."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 2**16 + 1024), 2)
        tail = file.read()
    for signature, layout, at in _DIRECTORY_ENDS:
        start = tail.find(signature)
        while start >= 0:
            if start + at + struct.calcsize(layout) <= len(tail):
                (length,) = struct.unpack_from(layout, tail, start + at)
                if length > MAX_DIRECTORY and (layout == "<Q" or length != 0xFFFFFFFF):
                    raise EmbeddingError(
                        f"{path.name} is an archive of too many parts for an embedding."
                    )
            start = tail.find(signature, start + 1)
