"""What people are shown of an embedding, in a few lines."""

from __future__ import annotations

from .embedding import Embedding
from .metadata import told
from .model_families import made_for


def summary(embedding: Embedding, label: str = "") -> list[str]:
    """Reference, vectors, the models it is for, its mean norms, and what its metadata tells."""
    widths = {encoder: int(rows.shape[1]) for encoder, rows in embedding.vectors.items()}
    norms = {encoder: float(rows.norm(dim=1).mean()) for encoder, rows in embedding.vectors.items()}
    shown = ", ".join(f"{encoder} {norm:.3g}" for encoder, norm in norms.items())
    return [
        embedding.prompt_text,
        embedding.describe(),
        f"for {made_for(widths)}; mean norm {shown}",
        *([f"file: {label}"] if label else []),
        *told(embedding.metadata),
    ]
