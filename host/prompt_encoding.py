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
from .arrival import Words, unreached
from .clip_encoders import Encoder, encoders_of
from .clip_with import clip_with_words, known_by
from .token_counts import token_lines
from .token_table import table_rows


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
    missing names (see compose), formulas that make no sense, embeddings of another family, and
    those that the CLIP's tokenizer leaves out.
    """
    vocabulary = Vocabulary(library, memory)
    composition = compose(
        text,
        vocabulary,
        missing=missing,
        keywords=vocabulary.keywords(keywords, bare_names),
    )
    encoders = list(encoders_of(clip).values()) if composition.words else []
    words = {
        name: word_vectors(clip, encoders, expression, vocabulary)
        for name, expression in composition.words.items()
    }
    partly = [
        line
        for name, vectors in words.items()
        if (line := _fit(encoders, composition.words[name], vectors, vocabulary))
    ]
    knowing = clip_with_words(clip, words) if words else clip
    tokens = knowing.tokenize(composition.text)
    partly += _left_out(knowing, encoders, composition, words, tokens) if words else []
    conditioning = knowing.encode_from_tokens_scheduled(tokens)
    report = _report(composition, partly, knowing)
    return EncodedPrompt(conditioning, composition.text, report)


def word_vectors(
    clip: Any, encoders: Sequence[Encoder], expression: Expression, vocabulary: Vocabulary
) -> Mapping[str, torch.Tensor]:
    if isinstance(expression, Named) and not expression.is_sliced:
        return vocabulary.embedding(expression.target or "").vectors
    found: dict[str, torch.Tensor] = {}
    for encoder in encoders:
        rows = evaluate(
            expression,
            lambda named, encoder=encoder: encoder.rows(  # type: ignore[misc]
                vocabulary.embedding(named.target or "").vectors
            ),
            lambda words, encoder=encoder: table_rows(clip, encoder, words),  # type: ignore[misc]
        )
        if rows is not None:
            found[encoder.key] = rows
    return found


def _fit(
    encoders: Sequence[Encoder],
    expression: Expression,
    vectors: Mapping[str, torch.Tensor],
    vocabulary: Vocabulary,
) -> str | None:
    """A warning if some encoders see nothing of a word. Raises EmbeddingError if none does."""
    absent = [one.key for one in encoders if one.rows(vectors) is None]
    shown = _shown(expression)
    if len(absent) == len(encoders):
        wanted = ", ".join(f"{one.key} [{one.width}]" for one in encoders)
        held = ""
        if isinstance(expression, Named):
            held = f" has {vocabulary.embedding(expression.target or '').describe()} and"
        raise EmbeddingError(
            f"{shown}{held} cannot be used here: this CLIP's text encoders are {wanted}; it was "
            "made for another model family, so use one made for this family, or words."
        )
    if not absent:
        return None
    used = ", ".join(one.key for one in encoders if one.key not in absent)
    return f"{shown} has no vectors for {', '.join(absent)}; only {used} sees it."


def _left_out(
    clip: Any,
    encoders: Sequence[Encoder],
    composition: Composition,
    words: Words,
    tokens: Any,
) -> list[str]:
    """Warnings about encoders that do not get a word's vectors, though it has some for them.

    Raises EmbeddingError if none of them gets all.
    """
    lines = []
    for name, missing, is_lost in unreached(composition.text, words, encoders, tokens):
        left_out = f"{_shown(composition.words[name])} does not reach {', '.join(missing)}"
        if is_lost:
            raise EmbeddingError(
                f"{left_out}: ComfyUI's {type(clip.tokenizer).__name__} cuts the prompt off before "
                "it or passes over it; write it earlier in a shorter prompt, or use words."
            )
        lines.append(f"{left_out}, whose tokenizer leaves it out.")
    return lines


def _shown(expression: Expression) -> str:
    return f"embedding:{expression.name}" if isinstance(expression, Named) else "The formula"


def _report(composition: Composition, partly: Sequence[str], clip: Any) -> str:
    tokens = token_lines(clip, composition.text) if composition.resolved else []
    warnings = [*composition.warnings, *dict.fromkeys(partly)]
    lines = [*composition.resolved, *(f"Warning: {warning}" for warning in warnings)]
    return "\n".join([*(lines or ["No embeddings in this text."]), *tokens])
