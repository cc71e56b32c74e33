"""The one domain object of the pack: an embedding, and the error its package raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch

from . import metadata as metadata_keys
from .names import EmbeddingError, check_name

__all__ = ["ENCODER_OF_WIDTH", "Embedding", "EmbeddingError"]

ENCODER_OF_WIDTH = {768: "clip_l", 1024: "clip_h", 1280: "clip_g"}
"""The encoder key that a vector's width alone decides, for files that name no encoder."""

_ENCODER_KEY = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, eq=False, repr=False)
class Embedding:
    """Learnt vectors under a name: for every encoder key a float32 CPU tensor of shape [n, d].

    Encoders come in the order of their width. Tensors are copied on the way in, so an embedding
    never changes under its owner, and are ordinary tensors even where they were made in inference
    mode. A 1-D tensor is one vector. A hash that a file gave of itself is left out of the metadata.
    Raises EmbeddingError for a bad name, no vectors, wrong shapes and values that are not finite.
    """

    name: str
    vectors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.vectors:
            raise EmbeddingError(f"Embedding '{self.name}' holds no vectors.")
        checked = {key: self._checked(key, tensor) for key, tensor in self.vectors.items()}
        by_width = sorted(checked.items(), key=lambda item: (item[1].shape[1], item[0]))
        object.__setattr__(self, "vectors", MappingProxyType(dict(by_width)))
        texts = {str(key): str(value) for key, value in self.metadata.items()}
        texts.pop(metadata_keys.HASH, None)
        object.__setattr__(self, "metadata", MappingProxyType(texts))

    def _checked(self, key: str, tensor: torch.Tensor) -> torch.Tensor:
        if not _ENCODER_KEY.fullmatch(key):
            raise EmbeddingError(f"Embedding '{self.name}': '{key}' is not an encoder key.")
        if not tensor.is_floating_point():
            raise EmbeddingError(
                f"Embedding '{self.name}': {key} holds {tensor.dtype}, not floating-point vectors."
            )
        with torch.inference_mode(False):
            rows = tensor.detach().to(device="cpu", dtype=torch.float32, copy=True).contiguous()
            rows = rows.unsqueeze(0) if rows.dim() == 1 else rows
        if rows.dim() != 2 or 0 in rows.shape:
            raise EmbeddingError(
                f"Embedding '{self.name}': {key} has shape {list(tensor.shape)}, "
                "not [vectors, width]."
            )
        if not bool(torch.isfinite(rows).all()):
            raise EmbeddingError(
                f"Embedding '{self.name}': {key} holds NaN or infinite values; it would spoil "
                "every picture it is used in."
            )
        return rows

    def __repr__(self) -> str:
        return f"Embedding({self.name!r}, {self.describe()})"

    @property
    def num_vectors(self) -> int:
        """Token positions taken in a prompt: the largest number of vectors of any encoder."""
        return max(rows.shape[0] for rows in self.vectors.values())

    @property
    def prompt_text(self) -> str:
        """The reference that calls this embedding in a prompt."""
        return f"embedding:{self.name}"

    def with_metadata(self, **entries: str) -> Embedding:
        """The same vectors with entries added to, or replaced in, the metadata."""
        return replace(self, metadata={**self.metadata, **entries})

    def identified(self) -> Embedding:
        """The same vectors with what ModelSpec demands of a file in the metadata."""
        said = metadata_keys.identified(self.metadata, self.name, tuple(self.vectors))
        return replace(self, metadata=said)

    def renamed(self, name: str) -> Embedding:
        """The same vectors under another name; title and trigger phrase follow."""
        return replace(self, name=name, metadata=metadata_keys.retitled(self.metadata, name))

    def describe(self) -> str:
        """One line on what it holds, such as '4 vectors: clip_l [4, 768]'."""
        count = f"{self.num_vectors} vector" + ("s" if self.num_vectors != 1 else "")
        held = ", ".join(f"{key} {list(rows.shape)}" for key, rows in self.vectors.items())
        return f"{count}: {held}"
