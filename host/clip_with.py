"""A CLIP that knows embeddings of the graph by name, before it looks on disk."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..embeddings_io.embedding import Embedding, EmbeddingError
from ..embeddings_io.vocabulary import Known
from .clip_encoders import fit_in
from .knowing_tokenizer import is_part, taught

logger = logging.getLogger(__name__)

KNOWN = "known_embeddings"
"""Attribute of a taught tokenizer: what it was taught, by name."""


def clip_with(
    clip: Any, embeddings: Sequence[Embedding], origin: str = "known by this CLIP"
) -> Any:
    """A copy of `clip` whose tokenizers resolve these embeddings' names from memory.

    The given CLIP and its tokenizer stay as they are, and results can be given further embeddings;
    the last one of a name counts. Encoders that an embedding has no vectors for see nothing in its
    place; one sentence in the log says so. Raises EmbeddingError with that sentence if an embedding
    has none for any of the encoders.
    """
    tokenizer_parts(clip)
    for embedding in embeddings:
        _check_fit(embedding, clip)
    known = {embedding.name: Known(embedding, origin) for embedding in embeddings}
    return _with_words(clip, {one.name: one.vectors for one in embeddings}, known)


def clip_with_words(clip: Any, words: Mapping[str, Mapping[str, torch.Tensor]]) -> Any:
    """A copy of `clip` that resolves names to vectors [n, d] by encoder key."""
    return _with_words(clip, words, {})


def known_by(clip: Any) -> dict[str, Known]:
    """The embeddings that a CLIP was taught, by name."""
    return dict(getattr(clip.tokenizer, KNOWN, {}))


def tokenizer_parts(clip: Any) -> dict[str, Any]:
    """The tokenizers of a CLIP's text encoders by attribute; '' where it is one itself.

    Raises EmbeddingError if none of them has a place for embeddings.
    """
    tokenizer = clip.tokenizer
    parts = {name: value for name, value in vars(tokenizer).items() if is_part(value)}
    if is_part(tokenizer):
        parts[""] = tokenizer
    if not parts:
        raise EmbeddingError(
            f"This CLIP's tokenizer ({type(tokenizer).__name__}) has no place for embeddings."
        )
    return parts


def vectors_for(part: Any, vectors: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    """The rows [n, d] that fit a tokenizer's text encoder, or None."""
    rows = vectors.get(part.embedding_key)
    return rows if rows is not None and rows.shape[-1] == part.embedding_size else None


def encoders_without(clip: Any, embedding: Embedding) -> list[str]:
    """The encoder keys of a CLIP that an embedding has no vectors for."""
    parts = tokenizer_parts(clip).values()
    return [p.embedding_key for p in parts if vectors_for(p, embedding.vectors) is None]


def _with_words(
    clip: Any, words: Mapping[str, Mapping[str, torch.Tensor]], known: Mapping[str, Known]
) -> Any:
    parts = tokenizer_parts(clip)
    tokenizer = copy.copy(clip.tokenizer)
    for attribute, part in parts.items():
        fitting = {name: _rows_or_none(part, vectors) for name, vectors in words.items()}
        if attribute:
            setattr(tokenizer, attribute, taught(part, fitting))
        else:
            tokenizer = taught(tokenizer, fitting)
    setattr(tokenizer, KNOWN, {**getattr(clip.tokenizer, KNOWN, {}), **known})
    knowing = clip.clone()
    knowing.tokenizer = tokenizer
    return knowing


def _rows_or_none(part: Any, vectors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    rows = vectors_for(part, vectors)
    return rows if rows is not None else torch.empty(0, part.embedding_size)


def _check_fit(embedding: Embedding, clip: Any) -> None:
    """One sentence, in the log or raised, where ComfyUI would have a line for every vector."""
    found = fit_in(embedding, clip)
    if not found.used:
        raise EmbeddingError(found.warning)
    if found.warning:
        logger.warning("%s", found.warning)
