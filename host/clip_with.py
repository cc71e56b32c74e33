"""A CLIP that knows embeddings of the graph by name, before it looks on disk."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..embeddings_io.embedding import Embedding, EmbeddingError
from ..embeddings_io.vocabulary import Known
from .clip_encoders import encoders_of, fit_in, tokenizer_parts
from .knowing_tokenizer import taught

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
    encoders_of(clip)
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


def _with_words(
    clip: Any, words: Mapping[str, Mapping[str, torch.Tensor]], known: Mapping[str, Known]
) -> Any:
    encoders = encoders_of(clip)
    tokenizer = copy.copy(clip.tokenizer)
    for attribute, part in tokenizer_parts(clip).items():
        fitting: dict[str, torch.Tensor] = {}
        for name, vectors in words.items():
            rows = encoders[attribute].rows(vectors) if attribute in encoders else None
            fitting[name] = rows if rows is not None else torch.empty(0, part.embedding_size)
        if attribute:
            setattr(tokenizer, attribute, taught(part, fitting))
        else:
            tokenizer = taught(tokenizer, fitting)
    setattr(tokenizer, KNOWN, {**getattr(clip.tokenizer, KNOWN, {}), **known})
    knowing = clip.clone()
    knowing.tokenizer = tokenizer
    return knowing


def _check_fit(embedding: Embedding, clip: Any) -> None:
    """One sentence, in the log or raised, where ComfyUI would have a line for every vector."""
    found = fit_in(embedding, clip)
    if not found.used:
        raise EmbeddingError(found.warning)
    if found.warning:
        logger.warning("%s", found.warning)
