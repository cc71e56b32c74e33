"""ComfyUI's own: emb_params, or vectors by encoder key (also kohya, InvokeAI, ai-toolkit)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from PIL import Image

from ..embedding import ENCODER_OF_WIDTH, Embedding
from ..metadata import OWN, retitled
from ..safetensors_bytes import to_bytes
from .container import Container, Part
from .widths import by_width, is_vectors

LABEL = "ComfyUI safetensors"
SUFFIX = ".safetensors"
KEY = "emb_params"
ENCODERS = f"{OWN}encoders"

ENCODER_KEYS = frozenset(
    (
        "clip_l",
        "clip_g",
        "clip_h",
        "t5xxl",
        "umt5xxl",
        "umt5base",
        "t5base",
        "t5gemma",
        "mt5xl",
        "pile_t5xl",
        "byt5_small",
        "llama",
        "gemma2_2b",
        "gemma3_4b",
        "gemma3_12b",
        "gemma4",
        "gpt_oss",
        "jina_clip_2",
        "qwen25_3b",
        "qwen25_7b",
        "qwen3_06b",
        "qwen3_2b",
        "qwen3_4b",
        "qwen3_8b",
        "qwen35_2b",
        "qwen3vl_8b",
        "qwen3vl_32b",
        "mistral3_24b",
        "ministral3_3b",
        "chinese_roberta",
        "hidream_o1",
    )
)
"""The keys by which ComfyUI's tokenizers look up their own vectors."""


def detect(container: Container) -> bool:
    """True if a key at the top level is an encoder's, or emb_params."""
    return bool(_encoders(container)) or is_vectors(container.tensors.get(KEY))


def read(container: Container) -> list[Part]:
    """One embedding; emb_params counts only where no encoder is named."""
    vectors = _encoders(container)
    if not vectors:
        vectors = by_width(container, container.tensors[KEY])
    return [Part(vectors, dict(container.metadata))]


def objection(encoders: Collection[str]) -> str | None:
    """Every encoder has a key."""
    return None


def encode(embedding: Embedding, picture: Image.Image | None) -> dict[str, bytes]:
    """One safetensors file of float32 vectors, byte for byte decided by the embedding."""
    metadata = retitled(embedding.metadata, embedding.name)
    return {SUFFIX: to_bytes(stored_tensors(embedding.vectors), metadata)}


def stored_tensors(vectors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The keys to store: emb_params where the width alone decides the encoder, else its key."""
    if len(vectors) == 1 and set(vectors) <= {"clip_l", "clip_h"}:
        ((encoder, rows),) = vectors.items()
        if ENCODER_OF_WIDTH.get(rows.shape[-1]) == encoder:
            return {KEY: rows}
    return vectors


def _encoders(container: Container) -> dict[str, torch.Tensor]:
    """The vectors under encoder keys, those included that only this file's metadata names."""
    named = container.metadata.get(ENCODERS, "").split(",")
    return {
        key: rows
        for key, rows in container.tensors.items()
        if key in ENCODER_KEYS or (key in named and key != KEY)
    }
