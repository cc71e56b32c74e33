"""The resume file: a run's whole state beside the embedding, until the run has ended.

It is a safetensors file: tensors by their path in the state, and the rest as JSON in its metadata.
All tensors are written as float32, which holds a generator's bytes exactly too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..embeddings_io.atomic import replace_file
from ..embeddings_io.names import EmbeddingError
from ..embeddings_io.safetensors_bytes import read_header, read_tensors, to_bytes
from .dataset import Dataset
from .recipe import Recipe

ENDING = ".resume"
FORMAT = "1"
_TENSOR = "tensor:"
_NOT_DECISIVE = ("preview_every", "preview_prompts", "snapshot_every", "resume", "save_memory")
"""Knobs that change nothing about the vectors."""


class ResumeFile:
    """``<folder>/<name>.resume``; ``identity`` says which run it belongs to."""

    def __init__(self, folder: Path, name: str, identity: str) -> None:
        self.path = folder / f"{name}{ENDING}"
        self.identity = identity

    def write(self, state: Mapping[str, Any]) -> None:
        """Put this state in the file's place; a crash leaves the old one. Raises OSError."""
        tensors: dict[str, torch.Tensor] = {}
        text = json.dumps(_flattened(state, "", tensors))
        metadata = {"format": FORMAT, "identity": self.identity, "state": text}
        replace_file(self.path, to_bytes(tensors, metadata))

    def read(self) -> dict[str, Any] | None:
        """The state, or None where there is none of this very run."""
        try:
            metadata = read_header(self.path).get("__metadata__", {})
            if (metadata.get("format"), metadata.get("identity")) != (FORMAT, self.identity):
                return None
            state = _restored(json.loads(metadata["state"]), read_tensors(self.path))
        except (OSError, EmbeddingError, ValueError, KeyError):
            return None
        return state if isinstance(state, dict) else None

    def remove(self) -> None:
        """The run has ended; nothing is left to resume."""
        self.path.unlink(missing_ok=True)


def identity(
    recipe: Recipe,
    initial: Mapping[str, torch.Tensor],
    dataset: Dataset,
    good: Dataset | None,
    words: Sequence[str] = (),
) -> str:
    """A hash of all that decides a run's result, besides the models."""
    digest = hashlib.sha256()
    knobs = {name: value for name, value in recipe.as_dict().items() if name not in _NOT_DECISIVE}
    digest.update(
        json.dumps([FORMAT, torch.__version__, list(words), knobs], sort_keys=True).encode()
    )
    for key, rows in initial.items():
        digest.update(key.encode() + _bytes(rows))
    for each in (*dataset.pictures, *(good.pictures if good is not None else ())):
        digest.update(
            repr(
                (each.source, each.caption, each.concept, each.flipped, each.original, each.crop)
            ).encode()
        )
        for tensor in (each.mean, each.std, each.mask):
            digest.update(b"-" if tensor is None else _bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().to("cpu", torch.float32).contiguous()
    return repr(tuple(plain.shape)).encode() + plain.numpy().tobytes()


def _flattened(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    """The value for JSON; every tensor goes to ``tensors`` under its path."""
    if isinstance(value, torch.Tensor):
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return _TENSOR + ("bytes:" if value.dtype == torch.uint8 else "float:") + path
    if isinstance(value, Mapping):
        return {key: _flattened(each, f"{path}/{key}", tensors) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_flattened(each, f"{path}/{at}", tensors) for at, each in enumerate(value)]
    return value


def _restored(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, str) and value.startswith(_TENSOR):
        kind, _, path = value.removeprefix(_TENSOR).partition(":")
        return tensors[path].to(torch.uint8) if kind == "bytes" else tensors[path]
    if isinstance(value, dict):
        return {key: _restored(each, tensors) for key, each in value.items()}
    if isinstance(value, list):
        return [_restored(each, tensors) for each in value]
    return value
