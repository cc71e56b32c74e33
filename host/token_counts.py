"""How many tokens a prompt takes in each text encoder, and how many are left in its windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..embeddings_io.composition import Composition
from .clip_encoders import Encoder, encoders_of
from .windows import Row, content_lengths, room_in


def report_for(composition: Composition, clip: Any | None) -> str:
    """The report on a text for ComfyUI's own encoding, with what a CLIP makes of it, if given one.

    Raises EmbeddingError if the text has embeddings and the CLIP takes no vectors.
    """
    if clip is None or not composition.resolved:
        return composition.report
    blind = [one.key for one in encoders_of(clip).values() if one.part.embedding_directory is None]
    warnings = [
        f"Warning: ComfyUI looks up no embeddings for {', '.join(blind)}, so CLIP Text Encode "
        "reads their names as words; use Encode Embedding Prompt."
    ]
    lines = [*(warnings if blind else []), *token_lines(clip, composition.text)]
    return "\n".join([composition.report, *lines])


def token_lines(clip: Any, text: str) -> list[str]:
    """A sentence for every text encoder that takes vectors."""
    encoders = encoders_of(clip)
    tokens = clip.tokenize(text, return_word_ids=True)
    has_rows = any(room_in(one.part) is None for one in encoders.values())
    nothing = clip.tokenize("", return_word_ids=True) if has_rows else {}
    lines = []
    for attribute, encoder in encoders.items():
        rows, empty = (_rows(one, attribute, encoder) for one in (tokens, nothing))
        if rows:
            lines.append(f"{encoder.key}: {_used(rows, empty, encoder.part)}.")
    return lines


def _used(rows: list[Row], empty: list[Row], part: Any) -> str:
    counts = content_lengths(rows, part)
    room = room_in(part)
    if room is None:
        around = sum(content_lengths(empty, part))
        included = ", with those that ComfyUI writes around the text" if around else ""
        return f"{_tokens(sum(counts))} used{included}; it has no windows"
    windows = [f"{count} of {_tokens(room)} used, {room - count} left" for count in counts]
    if len(windows) == 1:
        return windows[0]
    return "; ".join(f"{used} in window {number}" for number, used in enumerate(windows, 1))


def _tokens(count: int) -> str:
    return f"{count} token{'s' if count != 1 else ''}"


def _rows(tokens: Mapping[str, Any] | list[Row], attribute: str, encoder: Encoder) -> list[Row]:
    """An encoder's rows in what a CLIP's tokenizer returns, under whichever name it has there."""
    if isinstance(tokens, list):
        return tokens
    names = (attribute, *encoder.keys, attribute.removeprefix("clip_"))
    found = [tokens[name] for name in names if name in tokens]
    if not found and len(tokens) == 1:
        found = list(tokens.values())
    return found[0] if found else []
