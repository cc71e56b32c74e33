"""The vectors that a text encoder's own token table has for a text."""

from __future__ import annotations

from typing import Any

import torch

from ..embeddings_io.embedding import EmbeddingError


def table_rows(clip: Any, attribute: str, part: Any, text: str) -> torch.Tensor:
    """The token table's rows [tokens, d] for `text`, float32 on the CPU.

    `attribute` is the tokenizer's name within the CLIP. Raises EmbeddingError for a text without
    tokens, and where the encoder cannot be told.
    """
    last = -1 if part.tokenizer_adds_end_token else None
    ids = part.tokenizer(text)["input_ids"][part.tokens_start : last]
    if not ids:
        raise EmbeddingError(f"The words {text!r} have no tokens in {part.embedding_key}.")
    clip.load_model()
    table = _encoder(clip, attribute, part).transformer.get_input_embeddings()
    place = torch.tensor(ids, dtype=torch.long, device=table.weight.device)
    with torch.no_grad():
        return table(place, out_dtype=torch.float32).detach().to("cpu", torch.float32).clone()


def _encoder(clip: Any, attribute: str, part: Any) -> Any:
    model = clip.cond_stage_model
    for name in (attribute, part.embedding_key):
        named = getattr(model, name, None) if name else None
        if named is not None and hasattr(named, "transformer"):
            return named
    inside = [one for one in model.children() if hasattr(one, "transformer")]
    if len(inside) != 1:
        raise EmbeddingError(
            f"Words in a formula cannot be looked up in {part.embedding_key} of a "
            f"{type(model).__name__}; use embeddings alone."
        )
    return inside[0]
