"""A CLIP that knows embeddings of the graph by name, before it looks on disk."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ..embeddings_io.embedding import Embedding, EmbeddingError
from ..embeddings_io.names import without_extension
from ..embeddings_io.references import leading_name

logger = logging.getLogger(__name__)

LOOK_UP = "_try_get_embedding"
"""The method by which ComfyUI's tokenizers turn the text behind 'embedding:' into vectors."""


def clip_with(clip: Any, embeddings: Sequence[Embedding]) -> Any:
    """A copy of `clip` whose tokenizers resolve these embeddings' names from memory.

    The given CLIP and its tokenizer stay as they are, and results can be given further embeddings;
    the last one of a name counts. Encoders that an embedding has no vectors for see nothing in its
    place. Raises EmbeddingError if an embedding has none for any of the encoders.
    """
    tokenizer = copy.copy(clip.tokenizer)
    parts = {
        attribute: copy.copy(value)
        for attribute, value in vars(tokenizer).items()
        if hasattr(value, LOOK_UP)
    }
    vars(tokenizer).update(parts)
    lookers = [*parts.values(), *([tokenizer] if hasattr(tokenizer, LOOK_UP) else [])]
    if not lookers:
        raise EmbeddingError(
            f"This CLIP's tokenizer ({type(tokenizer).__name__}) has no place for embeddings."
        )
    for embedding in embeddings:
        _check_fit(embedding, lookers)
    for part in lookers:
        _teach(part, embeddings)
    knowing = clip.clone()
    knowing.tokenizer = tokenizer
    return knowing


def _teach(part: Any, embeddings: Sequence[Embedding]) -> None:
    vectors = {embedding.name: _vectors_for(part, embedding) for embedding in embeddings}
    shape = _answer_shape(part)
    on_disk: Callable[[str], tuple[Any, ...]] = getattr(part, LOOK_UP)

    def look_up(text: str) -> tuple[Any, ...]:
        start = len(text) - len(text.lstrip())
        run = (text[start:].split() or [""])[0]
        known = leading_name(run, lambda name: _known(name, vectors))
        if known is None:
            return on_disk(text) if run else shape(None, "", "")
        _, length, name = known
        return shape(vectors[name], name, text[start + length :].strip())

    setattr(part, LOOK_UP, look_up)
    if part.embedding_directory is None:
        part.embedding_directory = []


def _known(name: str, vectors: Mapping[str, torch.Tensor]) -> str | None:
    name = name.replace("\\", "/")
    return next((one for one in (name, without_extension(name)) if one in vectors), None)


def _vectors_for(part: Any, embedding: Embedding) -> torch.Tensor:
    rows = embedding.vectors.get(part.embedding_key)
    if rows is None or rows.shape[-1] != part.embedding_size:
        return torch.empty(0, part.embedding_size)
    return rows


def _answer_shape(part: Any) -> Callable[[Any, str, str], tuple[Any, ...]]:
    """How this ComfyUI's look-up answers: (vectors, rest), or since 0.28 (vectors, name, rest)."""
    probe = copy.copy(part)
    probe.embedding_directory = []
    vars(probe).pop(LOOK_UP, None)
    if len(getattr(probe, LOOK_UP)("-")) == 2:
        return lambda rows, name, rest: (rows, rest)
    return lambda rows, name, rest: (rows, name, rest)


def _check_fit(embedding: Embedding, lookers: Sequence[Any]) -> None:
    wanted = [f"{part.embedding_key} [{part.embedding_size}]" for part in lookers]
    missing = [
        label
        for part, label in zip(lookers, wanted, strict=True)
        if not len(_vectors_for(part, embedding))
    ]
    if len(missing) == len(lookers):
        raise EmbeddingError(
            f"Embedding '{embedding.name}' has {embedding.describe()}, but this CLIP's text "
            f"encoders are {', '.join(wanted)}; it was made for another model family."
        )
    if missing:
        logger.warning(
            "Embedding '%s' has no vectors for %s, which will not see it.",
            embedding.name,
            ", ".join(missing),
        )
