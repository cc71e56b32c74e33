"""The text encoders of a CLIP that take vectors, and whether an embedding has them.

Nothing here knows an encoder by name: what takes vectors is told by what ComfyUI's classes can do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..embeddings_io.embedding import Embedding, EmbeddingError
from ..embeddings_io.model_families import Fit, fit
from .knowing_tokenizer import is_part


@dataclass(frozen=True)
class Encoder:
    """A text encoder that takes vectors: its tokenizer, and itself where the CLIP shows it.

    `keys` are its encoder key and the CLIP's own name for it; `width` is that of its vectors.
    """

    keys: tuple[str, ...]
    width: int
    part: Any
    module: Any = None

    @property
    def key(self) -> str:
        return self.keys[0]

    def rows(self, vectors: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """The rows [n, width] that are for this encoder, or None."""
        fitting = (vectors[key] for key in self.keys if key in vectors)
        return next((rows for rows in fitting if rows.shape[-1] == self.width), None)


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
            f"This CLIP's tokenizer ({type(tokenizer).__name__}) has no place for embeddings; "
            "write what you mean in words instead."
        )
    return parts


def encoders_of(clip: Any) -> dict[str, Encoder]:
    """The text encoders that take vectors, by their tokenizers' attributes ('' for one itself).

    Tokenizers whose tokens are used as mere numbers, or whose encoder was not loaded, have none.
    Raises EmbeddingError if no text encoder takes vectors.
    """
    parts = tokenizer_parts(clip)
    model = getattr(clip, "cond_stage_model", None)
    if not isinstance(model, torch.nn.Module):
        return {attribute: _unseen(attribute, part) for attribute, part in parts.items()}
    modules = _modules(model)
    places = {attribute: _place(attribute, part, modules) for attribute, part in parts.items()}
    left = [name for name in modules if name not in places.values()]
    homeless = [attribute for attribute, place in places.items() if place is None]
    found = {}
    for attribute, part in parts.items():
        place = places[attribute]
        if place is None and len(homeless) == len(left) == 1:
            place = left[0]
        if place is not None:
            encoder = _seen(attribute, part, modules[place])
            found |= {attribute: encoder} if encoder else {}
        elif left:
            found[attribute] = _unseen(attribute, part)
    if not found:
        raise EmbeddingError(
            f"This CLIP's text encoder ({type(model).__name__}) takes nothing but token numbers, "
            "so no embedding can be used with it; write what you mean in words instead."
        )
    return found


def encoder_widths(clip: Any) -> dict[str, int]:
    """By encoder key the width of the vectors, for the text encoders that take them."""
    return {encoder.key: encoder.width for encoder in encoders_of(clip).values()}


def fit_in(embedding: Embedding, clip: Any) -> Fit:
    """The encoders of a CLIP that see the embedding, and a warning where not all do."""
    widths = {key: int(rows.shape[-1]) for key, rows in embedding.vectors.items()}
    for encoder in encoders_of(clip).values():
        fitting = next((key for key in encoder.keys if widths.get(key) == encoder.width), None)
        if fitting not in (None, encoder.key):
            widths[encoder.key] = widths.pop(fitting)
    return fit(embedding.name, widths, encoder_widths(clip))


def _modules(model: torch.nn.Module) -> dict[str, Any]:
    """The text encoders inside a model by their own names, '' for itself."""
    for inside in ([("", model), *model.named_children()], model.named_modules()):
        found = {
            path.rpartition(".")[2]: module
            for path, module in inside
            if hasattr(getattr(module, "transformer", None), "get_input_embeddings")
        }
        if found:
            return found
    return {}


def _place(attribute: str, part: Any, modules: Mapping[str, Any]) -> str | None:
    return next((name for name in (attribute, part.embedding_key) if name in modules), None)


def _seen(attribute: str, part: Any, module: Any) -> Encoder | None:
    """None for an encoder that makes no vectors of its tokens where others could come in."""
    if not hasattr(module, "process_tokens"):
        return None
    table = module.transformer.get_input_embeddings()
    width = getattr(table, "embedding_dim", None) or part.embedding_size
    return Encoder(_keys(attribute, part), int(width), part, module)


def _unseen(attribute: str, part: Any) -> Encoder:
    return Encoder(_keys(attribute, part), part.embedding_size, part)


def _keys(attribute: str, part: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for key in (part.embedding_key, attribute) if key))
