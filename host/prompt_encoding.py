"""A prompt with everything that the pack lets people write in it, encoded by any CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..embeddings_io.composition import Composition, compose
from ..embeddings_io.embedding import Embedding, EmbeddingError
from ..embeddings_io.grammar.arithmetic import evaluate
from ..embeddings_io.grammar.formula import Expression, Named
from ..embeddings_io.library import Library
from ..embeddings_io.vocabulary import Known, Vocabulary
from .clip_with import clip_with_words, known_by, tokenizer_parts, vectors_for
from .token_table import table_rows
from .windows import content_lengths, has_windows


@dataclass(frozen=True)
class EncodedPrompt:
    """Ordinary conditioning, the text that was encoded, and what was found in it."""

    conditioning: list[Any]
    text: str
    report: str


def memory_of(
    clip: Any, connected: Sequence[Embedding | None] = (), more: Mapping[str, Known] | None = None
) -> dict[str, Known]:
    """The embeddings in memory by name: `connected` ones win over `more`, the CLIP's come last."""
    wires = {one.name: Known(one, "connected") for one in connected if one is not None}
    return {**known_by(clip), **(more or {}), **wires}


def encode_prompt(
    clip: Any,
    text: str,
    library: Library,
    memory: Mapping[str, Known],
    *,
    missing: str = "error",
    keywords: Sequence[str] = (),
    bare_names: str = "off",
) -> EncodedPrompt:
    """Expand, check and encode a prompt; what ComfyUI understands gives the same bits.

    `memory` holds embeddings by name that win over the library's files. Raises EmbeddingError for
    missing names (see compose), formulas that make no sense, and embeddings of another family.
    """
    vocabulary = Vocabulary(library, memory)
    composition = compose(
        text,
        vocabulary,
        missing=missing,
        keywords=vocabulary.keywords(keywords, bare_names),
    )
    words = {
        name: word_vectors(clip, expression, vocabulary)
        for name, expression in composition.words.items()
    }
    partly = [
        line
        for name, vectors in words.items()
        if (line := _fit(clip, composition.words[name], vectors, vocabulary))
    ]
    knowing = clip_with_words(clip, words) if words else clip
    conditioning = knowing.encode_from_tokens_scheduled(knowing.tokenize(composition.text))
    report = _report(composition, partly, knowing)
    return EncodedPrompt(conditioning, composition.text, report)


def word_vectors(
    clip: Any, expression: Expression, vocabulary: Vocabulary
) -> Mapping[str, torch.Tensor]:
    if isinstance(expression, Named) and not expression.is_sliced:
        return vocabulary.embedding(expression.target or "").vectors
    found: dict[str, torch.Tensor] = {}
    for attribute, part in tokenizer_parts(clip).items():
        rows = evaluate(
            expression,
            lambda named, part=part: vectors_for(  # type: ignore[misc]
                part, vocabulary.embedding(named.target or "").vectors
            ),
            lambda words, attribute=attribute, part=part: table_rows(  # type: ignore[misc]
                clip, attribute, part, words
            ),
        )
        if rows is not None:
            found[part.embedding_key] = rows
    return found


def _fit(
    clip: Any,
    expression: Expression,
    vectors: Mapping[str, torch.Tensor],
    vocabulary: Vocabulary,
) -> str | None:
    """A warning if some encoders see nothing of a word. Raises EmbeddingError if none does."""
    parts = tokenizer_parts(clip).values()
    absent = [one.embedding_key for one in parts if vectors_for(one, vectors) is None]
    shown = _shown(expression)
    if len(absent) == len(parts):
        wanted = ", ".join(f"{one.embedding_key} [{one.embedding_size}]" for one in parts)
        held = ""
        if isinstance(expression, Named):
            held = f" has {vocabulary.embedding(expression.target or '').describe()} and"
        raise EmbeddingError(
            f"{shown}{held} cannot be used here: this CLIP's text encoders are {wanted}; it was "
            "made for another model family."
        )
    if not absent:
        return None
    used = ", ".join(one.embedding_key for one in parts if one.embedding_key not in absent)
    return f"{shown} has no vectors for {', '.join(absent)}; only {used} sees it."


def _shown(expression: Expression) -> str:
    return f"embedding:{expression.name}" if isinstance(expression, Named) else "The formula"


def _report(composition: Composition, partly: Sequence[str], clip: Any) -> str:
    windows = _window_lines(clip, composition.text) if composition.resolved else []
    warnings = [*composition.warnings, *dict.fromkeys(partly)]
    lines = [*composition.resolved, *(f"Warning: {warning}" for warning in warnings)]
    return "\n".join([*(lines or ["No embeddings in this text."]), *windows])


def _window_lines(clip: Any, text: str) -> list[str]:
    lines = []
    for part in tokenizer_parts(clip).values():
        if has_windows(part):
            room = part.max_length - 2
            counts = content_lengths(part.tokenize_with_weights(text, True), part)
            used = ", ".join(f"{count} of {room}" for count in counts)
            left = room - counts[-1]
            lines.append(f"{part.embedding_key}: {used} tokens used, {left} left.")
    return lines
