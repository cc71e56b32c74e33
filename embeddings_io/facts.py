"""What a file of the library is, without its vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from . import formats, metadata
from .embedding import EmbeddingError
from .model_families import made_for
from .thumbnails import thumbnail_of

Shapes = tuple[tuple[str, int, int], ...]
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """One file: its format in plain words, and by encoder key how many vectors of which width.

    `problem` is the sentence that says why it cannot be loaded; then there are no shapes.
    `trigger`, `title` and `base_model` are the file's own words, '' where it has none.
    """

    label: str = ""
    shapes: Shapes = ()
    title: str = ""
    trigger: str = ""
    base_model: str = ""
    has_picture: bool = False
    problem: str = ""

    @property
    def num_vectors(self) -> int:
        """Token positions taken in a prompt."""
        return max((count for _, count, _ in self.shapes), default=0)

    @property
    def made_for(self) -> str:
        """The models that have these encoders, in plain words."""
        return made_for({encoder: width for encoder, _, width in self.shapes})

    def describe(self) -> str:
        """One line: '4 vectors for Stable Diffusion 1.x (clip_l 768), safetensors'."""
        if self.problem:
            return self.problem
        widths = ", ".join(f"{encoder} {width}" for encoder, _, width in self.shapes)
        count = f"{self.num_vectors} vector" + ("s" if self.num_vectors != 1 else "")
        return f"{count} for {self.made_for} ({widths}), {self.label}"


class Findings:
    """What was found out about one file, each thing when it is first asked for."""

    __slots__ = ("_digest", "_facts", "_norms")

    def __init__(self) -> None:
        self._facts: Facts | None = None
        self._norms: dict[str, float] | None = None
        self._digest = b""

    def facts(self, path: Path) -> Facts:
        """See facts()."""
        self._facts = self._facts or facts(path)
        return self._facts

    def norms(self, path: Path) -> dict[str, float]:
        """See norms()."""
        self._norms = self._norms or norms(path)
        return self._norms

    def hash(self, path: Path) -> str:
        """See file_hash()."""
        self._digest = self._digest or bytes.fromhex(file_hash(path))
        return self._digest.hex()


def facts(path: Path) -> Facts:
    """The facts about a file, from its header alone; never raises for what is in it."""
    try:
        found = formats.describe(path)
    except EmbeddingError as error:
        return Facts(problem=str(error))
    said: Mapping[str, str] = found.metadata
    shapes = tuple((encoder, count, width) for encoder, (count, width) in found.shapes.items())
    return Facts(
        label=found.label,
        shapes=_shared(shapes),
        title=said.get(metadata.TITLE, ""),
        trigger=said.get(metadata.TRIGGER_PHRASE, ""),
        base_model=said.get(metadata.BASE_MODEL, ""),
        has_picture=metadata.COVERS in said or metadata.THUMBNAIL in said,
    )


@lru_cache(maxsize=256)
def _shared(shapes: Shapes) -> Shapes:
    """The same object for the same shapes, of which a library has few."""
    return shapes


def thumbnail(path: Path) -> Image.Image | None:
    """The picture that stands for a file, at most 512 px, or None."""
    try:
        said = formats.describe(path).metadata
    except EmbeddingError:
        said = {}
    return thumbnail_of(path, said)


def norms(path: Path) -> dict[str, float]:
    """By encoder key the mean length of the vectors. Raises EmbeddingError for no embedding."""
    vectors = formats.read(path).vectors
    return {encoder: float(rows.norm(dim=1).mean()) for encoder, rows in vectors.items()}


def file_hash(path: Path) -> str:
    """SHA-256 of the file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
