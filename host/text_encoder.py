"""ComfyUI's CLIP as the engine's text encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..training.prompts import PLACEHOLDER, PromptTokens, TokenRow, build_row
from ..training.protocols import TextContext


class ClipTextEncoder:
    """The CLIP text encoders of one model: token rows in, context out, as the host encodes.

    ``keys`` are all the encoders of the CLIP in the host's order. Their contexts are laid side
    by side, and the pooled output is that of the last one. Gradients pass where ``clip`` is the
    one that :func:`borrow` lends.
    """

    def __init__(self, clip: Any, *keys: str) -> None:
        self.clip = clip
        self._keys = keys
        self._norms: dict[str, float] = {}

    @property
    def keys(self) -> Sequence[str]:
        """The encoder keys, e.g. ``('clip_l', 'clip_g')`` for SDXL."""
        return self._keys

    def vocabulary_norm(self, key: str) -> float:
        """The mean L2 norm of the token table's rows."""
        if key not in self._norms:
            self._norms[key] = float(self._table(key).float().norm(dim=-1).mean())
        return self._norms[key]

    def token_vectors(self, text: str) -> Mapping[str, torch.Tensor]:
        """``{key: [tokens, d]}``, the token-table rows of ``text``, float32."""
        return {key: self._token_vectors(key, text) for key in self._keys}

    def _token_vectors(self, key: str, text: str) -> torch.Tensor:
        table = self._table(key)
        rows = [
            token.float().to(table.device) if isinstance(token, torch.Tensor) else table[token]
            for token in segment_tokens(self._tokenizer(key), text)
        ]
        if not rows:
            return torch.zeros(0, table.shape[-1])
        return torch.stack([row.float() for row in rows]).clone()

    def tokenize(self, prompt: str, num_vectors: int) -> PromptTokens:
        """The token rows of a prompt, tokenised piece by piece as the host does at inference."""
        return {key: prompt_row(self._tokenizer(key), prompt, num_vectors) for key in self._keys}

    def encode(
        self, prompts: Sequence[PromptTokens], vectors: Mapping[str, torch.Tensor]
    ) -> TextContext:
        """Contexts ``[rows, 77, width]`` of all prompts in one batch, with CLIP skip applied.

        The pooled output ``[rows, d]`` is taken at the end token.
        """
        model = self.clip.patcher.model
        model.reset_clip_options()
        if self.clip.layer_idx is not None:
            model.set_clip_options({"layer": self.clip.layer_idx})
        model.set_clip_options({"execution_device": self.clip.patcher.load_device})
        contexts, pooled = [], None
        for key in self._keys:
            rows = [prompt[key].filled(vectors[key]) for prompt in prompts]
            context, pooled = getattr(model, key)(rows)[:2]
            contexts.append(context)
        model.reset_clip_options()
        shortest = min(context.shape[1] for context in contexts)
        joined = [context[:, :shortest] for context in contexts]
        return TextContext(joined[0] if len(joined) == 1 else torch.cat(joined, dim=-1), pooled)

    def _tokenizer(self, key: str) -> Any:
        return getattr(self.clip.tokenizer, key)

    def _table(self, key: str) -> torch.Tensor:
        encoder = getattr(self.clip.patcher.model, key)
        return encoder.transformer.get_input_embeddings().weight


def segment_tokens(tokenizer: Any, text: str) -> list[int | torch.Tensor]:
    """The tokens of plain text without start, end and padding; brackets mean themselves."""
    _, end, _ = special_tokens(tokenizer)
    found: list[int | torch.Tensor] = []
    for chunk in tokenizer.tokenize_with_weights(text, disable_weights=True):
        for token, *_ in chunk[1:]:
            if not isinstance(token, torch.Tensor) and int(token) == end:
                break
            found.append(token.clone() if isinstance(token, torch.Tensor) else int(token))
    return found


def prompt_row(tokenizer: Any, prompt: str, num_vectors: int) -> TokenRow:
    """The window of a prompt whose ``{}`` stands for the vectors."""
    start, end, pad = special_tokens(tokenizer)
    segments = [segment_tokens(tokenizer, part.strip()) for part in prompt.split(PLACEHOLDER)]
    return build_row(
        segments, num_vectors, start=start, end=end, pad=pad, window=tokenizer.max_length
    )


def special_tokens(tokenizer: Any) -> tuple[int, int, int]:
    """Start, end and padding token, read off the row of an empty prompt."""
    row = tokenizer.tokenize_with_weights("")[0]
    return int(row[0][0]), int(row[1][0]), int(row[-1][0])
