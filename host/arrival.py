"""Whether the vectors of a prompt's words are among the tokens that the text encoders get.

ComfyUI's tokenizers cut long texts off in places, and one may be written that looks up no words at
all; what was lost there would be lost without a sign.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from ..embeddings_io.references import find
from .clip_encoders import Encoder

Words = Mapping[str, Mapping[str, torch.Tensor]]
"""By name, vectors [n, d] by encoder key."""


def unreached(
    text: str, words: Words, encoders: Iterable[Encoder], tokens: Any
) -> Iterator[tuple[str, list[str], bool]]:
    """Words of `text` with vectors that are missing from `tokens`, ComfyUI's table of all rows.

    For each its name, the keys of the encoders that miss it, and whether no encoder has it whole.
    """
    counts = Counter(one.target for one in find(text, lambda name: name if name in words else None))
    there = Counter(_bits(vector) for vector in _vectors(tokens))
    rows = {
        (name, encoder.key): [_bits(row) for row in found]
        for name in words
        for encoder in encoders
        if (found := encoder.rows(words[name])) is not None
    }
    wanted: Counter[bytes] = Counter()
    for (name, _), bits in rows.items():
        wanted.update({one: counts[name] * number for one, number in Counter(bits).items()})
    for name in words:
        served = {
            key: all(there[one] >= wanted[one] for one in bits)
            for (word, key), bits in rows.items()
            if word == name
        }
        if not all(served.values()):
            missing = [key for key, is_served in served.items() if not is_served]
            yield name, missing, not any(served.values())


def _vectors(tokens: Any) -> Iterator[torch.Tensor]:
    """Every vector in ComfyUI's lists of tokens, bare or in its table."""
    if isinstance(tokens, torch.Tensor):
        if tokens.dim() == 1 and tokens.is_floating_point():
            yield tokens
    elif isinstance(tokens, dict):
        for one in tokens.values():
            yield from _vectors(one)
    elif isinstance(tokens, list | tuple):
        for one in tokens:
            yield from _vectors(one)


def _bits(vector: torch.Tensor) -> bytes:
    bits: bytes = vector.detach().to("cpu", torch.float32).contiguous().numpy().tobytes()
    return bits
