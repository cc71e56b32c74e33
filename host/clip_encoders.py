"""Which vectors a CLIP takes, and whether an embedding has them."""

from __future__ import annotations

from typing import Any

from ..embeddings_io.embedding import Embedding
from ..embeddings_io.model_families import Fit, fit


def encoder_widths(clip: Any) -> dict[str, int]:
    """By encoder key the width of the vectors, for the text encoders that take embeddings."""
    tokenizers = [*vars(clip.tokenizer).values(), clip.tokenizer]
    return {
        tokenizer.embedding_key: tokenizer.embedding_size
        for tokenizer in tokenizers
        if hasattr(tokenizer, "embedding_key") and hasattr(tokenizer, "embedding_size")
    }


def fit_in(embedding: Embedding, clip: Any) -> Fit:
    """The encoders of a CLIP that see the embedding, and a warning where not all do."""
    widths = {key: int(rows.shape[-1]) for key, rows in embedding.vectors.items()}
    return fit(embedding.name, widths, encoder_widths(clip))
