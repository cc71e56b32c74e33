"""SD3 and Flux: clip_l, clip_g and T5 twice, as t5xxl (ComfyUI) and t5 (OneTrainer, diffusers).

Every one of the three finds the vectors under the key that it looks for.
"""

from __future__ import annotations

from collections.abc import Collection

from PIL import Image

from ..embedding import Embedding
from ..metadata import retitled
from ..safetensors_bytes import to_bytes
from .container import Container, Part
from .onetrainer import renamed

LABEL = "SD3 and Flux safetensors, both T5 keys"
SUFFIX = ".safetensors"
T5, ALIAS = "t5xxl", "t5"


def detect(container: Container) -> bool:
    """True if both names of T5 are there."""
    return {T5, ALIAS} <= set(container.tensors)


def read(container: Container) -> list[Part]:
    """One embedding; t5xxl counts."""
    return [Part(renamed(container.tensors), dict(container.metadata))]


def objection(encoders: Collection[str]) -> str | None:
    """It is for T5 beside the CLIP encoders."""
    if T5 not in encoders or not set(encoders) <= {"clip_l", "clip_g", T5}:
        return "holds t5xxl with clip_l and clip_g only; choose comfyui"
    return None


def encode(embedding: Embedding, picture: Image.Image | None) -> dict[str, bytes]:
    """One safetensors file with T5's vectors twice."""
    tensors = {**embedding.vectors, ALIAS: embedding.vectors[T5]}
    return {SUFFIX: to_bytes(tensors, retitled(embedding.metadata, embedding.name))}
