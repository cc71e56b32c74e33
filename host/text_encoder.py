"""ComfyUI's CLIP as the engine's text encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..training.prompts import PLACEHOLDER, PromptTokens, TokenRow, build_row
from ..training.protocols import TextContext


class ClipTextEncoder:
    """One CLIP text encoder: token rows in, context out, as ``encode_from_tokens`` does.

    Gradients pass where ``clip`` is the one that :func:`borrow` lends.
    """

    def __init__(self, clip: Any, key: str) -> None:
        self.clip = clip
        self.key = key
        self._norm: float | None = None

    @property
    def keys(self) -> Sequence[str]:
        """The encoder keys; one for Stable Diffusion 1.x."""
        return (self.key,)

    def vocabulary_norm(self, key: str) -> float:
        """The mean L2 norm of the token table's rows."""
        if self._norm is None:
            self._norm = float(self._table().float().norm(dim=-1).mean())
        return self._norm

    def token_vectors(self, text: str) -> Mapping[str, torch.Tensor]:
        """``{key: [tokens, d]}``, the token-table rows of ``text``, float32."""
        table = self._table()
        rows = [
            token.float().to(table.device) if isinstance(token, torch.Tensor) else table[token]
            for token in segment_tokens(self._tokenizer(), text)
        ]
        if not rows:
            return {self.key: torch.zeros(0, table.shape[-1])}
        return {self.key: torch.stack([row.float() for row in rows]).clone()}

    def tokenize(self, prompt: str, num_vectors: int) -> PromptTokens:
        """The token row of a prompt, tokenised piece by piece as the host does at inference."""
        return {self.key: prompt_row(self._tokenizer(), prompt, num_vectors)}

    def encode(
        self, prompts: Sequence[PromptTokens], vectors: Mapping[str, torch.Tensor]
    ) -> TextContext:
        """Contexts ``[rows, 77, width]`` of all prompts in one batch, with CLIP skip applied."""
        model = self.clip.patcher.model
        model.reset_clip_options()
        if self.clip.layer_idx is not None:
            model.set_clip_options({"layer": self.clip.layer_idx})
        model.set_clip_options({"execution_device": self.clip.patcher.load_device})
        rows = [prompt[self.key].filled(vectors[self.key]) for prompt in prompts]
        context, pooled = getattr(model, self.key)(rows)[:2]
        model.reset_clip_options()
        return TextContext(context, pooled)

    def _tokenizer(self) -> Any:
        return getattr(self.clip.tokenizer, self.key)

    def _table(self) -> torch.Tensor:
        encoder = getattr(self.clip.patcher.model, self.key)
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
