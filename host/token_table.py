"""The vectors that a text encoder's own token table has for a text."""

from __future__ import annotations

import inspect
from typing import Any

import torch

from ..embeddings_io.embedding import EmbeddingError
from .clip_encoders import Encoder


def table_rows(clip: Any, encoder: Encoder, text: str) -> torch.Tensor:
    """The token table's rows [tokens, d] for `text`, float32 on the CPU.

    Raises EmbeddingError for a text without tokens, and where the table is out of sight.
    """
    part = encoder.part
    last = -1 if part.tokenizer_adds_end_token else None
    ids = part.tokenizer(text)["input_ids"][part.tokens_start : last]
    if not ids:
        raise EmbeddingError(f"The words {text!r} have no tokens in {encoder.key}.")
    if encoder.module is None:
        raise EmbeddingError(
            f"Words in a formula cannot be looked up in {encoder.key} of this CLIP; use "
            "embeddings alone."
        )
    _load(clip, text)
    table = encoder.module.transformer.get_input_embeddings()
    place = torch.tensor(ids, dtype=torch.long, device=table.weight.device)
    with torch.no_grad():
        return table(place, out_dtype=torch.float32).detach().to("cpu", torch.float32).clone()


def _load(clip: Any, text: str) -> None:
    """As encoding does; ComfyUI estimates the memory by the tokens, since 0.12, where it can."""
    takes_tokens = bool(inspect.signature(clip.load_model).parameters)
    clip.load_model(*([clip.tokenize(text)] if takes_tokens else []))
