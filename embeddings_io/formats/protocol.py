"""What a format module has to have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from PIL import Image

from ..embedding import Embedding
from .container import Container, Part


class Format(Protocol):
    """A way in which embeddings are stored."""

    LABEL: str
    SUFFIX: str

    def detect(self, container: Container) -> bool:
        """True if the content is of this format. Looks at keys and shapes, not at values."""

    def read(self, container: Container) -> list[Part]:
        """The embeddings in it, at least one. Raises EmbeddingError."""


class Writer(Protocol):
    """A format that can be written."""

    LABEL: str
    SUFFIX: str

    def objection(self, encoders: Collection[str]) -> str | None:
        """Why vectors for these encoder keys cannot be held, as the end of a sentence, or None."""

    def encode(self, embedding: Embedding, picture: Image.Image | None) -> dict[str, bytes]:
        """The files to write: by what follows the embedding's name, SUFFIX first."""
