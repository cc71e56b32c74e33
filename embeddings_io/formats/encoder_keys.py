"""Vectors by encoder key: SDXL, SD3, Flux and later (ComfyUI, kohya, OneTrainer, diffusers)."""

from __future__ import annotations

import torch

from .container import Container

NAME = "encoder keys"

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

ALIASES = {"t5": "t5xxl"}
"""OneTrainer and diffusers say t5."""


def detect(container: Container) -> bool:
    """True if any key at the top level is an encoder's."""
    return any(ALIASES.get(key, key) in ENCODER_KEYS for key in container.tensors)


def read(container: Container) -> dict[str, torch.Tensor]:
    """Vectors by encoder key; where a file has both t5xxl and its alias, t5xxl counts."""
    tensors = container.tensors
    vectors = {ALIASES[key]: rows for key, rows in tensors.items() if key in ALIASES}
    vectors |= {key: rows for key, rows in tensors.items() if key in ENCODER_KEYS}
    return vectors


def write(vectors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The table of tensors to store."""
    return dict(vectors)
