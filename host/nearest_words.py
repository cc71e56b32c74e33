"""Which words of a CLIP's vocabulary the vectors of an embedding come near."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..training.neighbours import nearest_rows, sentence

END_OF_WORD = "</w>"
LOOKED_AT = 40


def nearest_words(
    clip: Any, key: str, vectors: torch.Tensor, count: int = 5
) -> list[list[tuple[str, float]]]:
    """(word, cosine) of the ``count`` words nearest to each vector ``[n, d]``, nearest first.

    Whole words in plain letters only; empty lists for a tokenizer without a word list.
    """
    words: Mapping[int, str] = getattr(getattr(clip.tokenizer, key, None), "inv_vocab", {})
    found = nearest_rows(_table(clip, key), vectors, LOOKED_AT)
    return [
        [
            (words[row].removesuffix(END_OF_WORD), cosine)
            for row, cosine in near
            if _is_word(words.get(row, ""))
        ][:count]
        for near in found
    ]


def describe_vectors(clip: Any, vectors: Mapping[str, torch.Tensor], count: int = 5) -> list[str]:
    """A line for every vector of every encoder: its norm, the words' norm, the nearest words."""
    lines = []
    for key, rows in vectors.items():
        usual = float(_table(clip, key).float().norm(dim=-1).mean())
        for number, near in enumerate(nearest_words(clip, key, rows, count), 1):
            told = sentence(near, float(rows[number - 1].norm()), usual)
            lines.append(f"{key} vector {number}: {told}")
    return lines


def _table(clip: Any, key: str) -> torch.Tensor:
    encoder = getattr(clip.patcher.model, key)
    weight: torch.Tensor = encoder.transformer.get_input_embeddings().weight
    return weight


def _is_word(token: str) -> bool:
    word = token.removesuffix(END_OF_WORD)
    return token.endswith(END_OF_WORD) and word.isascii() and word.isalpha()
