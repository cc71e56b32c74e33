"""Embeddings bundled into one file under keys bundle_emb.NAME.ENCODER (OneTrainer, A1111)."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from ..embedding import EmbeddingError
from .comfyui import ENCODER_KEYS
from .container import Container, Part
from .onetrainer import ALIASES
from .widths import by_width

LABEL = "bundle in a LoRA"
SUFFIX = ".safetensors"
PREFIX = "bundle_emb."
OUTPUT = "_out"
_UNNAMED = ("string_to_param.*", "emb_params", "emp_params")
_ENDINGS = (*ENCODER_KEYS, *ALIASES, *_UNNAMED)
_ENDINGS += tuple(f"{key}{OUTPUT}" for key in _ENDINGS)


def detect(container: Container) -> bool:
    """True if any key is a bundled embedding's."""
    return any(map(is_bundled, container.tensors))


def read(container: Container) -> list[Part]:
    """An embedding for every NAME; keys are never joined across names."""
    return [
        Part(_vectors(container, name, found), dict(container.metadata), name)
        for name, found in _by_name(container.tensors).items()
    ]


def is_bundled(key: str) -> bool:
    """True for a bundled embedding's key."""
    return key.startswith(PREFIX)


def names(keys: Iterable[str]) -> list[str]:
    """The NAMEs in their order."""
    return list(dict.fromkeys(split(key)[0] for key in keys if is_bundled(key)))


def split(key: str) -> tuple[str, str]:
    """NAME and the rest of a key; names may have dots, as in 'bundle_emb.v1.2.clip_l'."""
    rest = key.removeprefix(PREFIX)
    for ending in _ENDINGS:
        if rest.endswith(f".{ending}"):
            return rest.removesuffix(f".{ending}"), ending
    name, _, ending = rest.partition(".")
    return name, ending


def _by_name(tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    found: dict[str, dict[str, torch.Tensor]] = {}
    for key, rows in tensors.items():
        if is_bundled(key):
            name, ending = split(key)
            found.setdefault(name, {})[ending] = rows
    return found


def _vectors(
    container: Container, name: str, found: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    if any(ending.endswith(OUTPUT) for ending in found):
        raise EmbeddingError(
            f"{container.path.name}: the bundled {name[:80]!r} is an output embedding of "
            "OneTrainer, which is added after the text encoder; train it again with output "
            "embeddings switched off."
        )
    vectors = {ALIASES[key]: rows for key, rows in found.items() if key in ALIASES}
    vectors |= {key: rows for key, rows in found.items() if key in ENCODER_KEYS}
    if vectors:
        return vectors
    for ending in _UNNAMED:
        if ending in found:
            return by_width(container, found[ending])
    raise EmbeddingError(
        f"{container.path.name}: the bundled {name[:80]!r} has no text encoder's vectors."
    )
