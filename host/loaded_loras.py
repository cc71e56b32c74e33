"""Embeddings bundled in the LoRAs that a node's CLIP has gone through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths

from ..embeddings_io.embedding import EmbeddingError
from ..embeddings_io.formats import lora_bundle
from ..embeddings_io.vocabulary import Known
from .running_prompt import upstream

KIND = "loras"
STRENGTHS = ("strength_model", "strength_clip")


def loaded_lora_words(hidden: Any, input_name: str = "clip") -> dict[str, Known]:
    """The bundled embeddings, by name, of every LoRA in the workflow above a node's input.

    `hidden` has the node's unique_id and ComfyUI's dynprompt; without it no LoRA is seen. A LoRA
    whose strengths are all zero is not loaded.
    """
    found: dict[str, Known] = {}
    if hidden is None or hidden.dynprompt is None:
        return found
    for node in upstream(hidden.dynprompt, hidden.unique_id, input_name):
        inputs = node["inputs"]
        strengths = [inputs[name] for name in STRENGTHS if name in inputs]
        if strengths and not any(strengths):
            continue
        for value in inputs.values():
            for name in bundled_names(value):
                (embedding,) = lora_bundle.read(_path(value), [name])
                found[embedding.name] = Known(embedding, f"in the LoRA {value}")
    return found


def bundled_names(value: object) -> Sequence[str]:
    """The embeddings inside the LoRA file that a node's value names; none for other values."""
    if not isinstance(value, str) or value not in folder_paths.get_filename_list(KIND):
        return []
    try:
        return lora_bundle.names(_path(value))
    except (EmbeddingError, OSError):
        return []


def _path(value: str) -> Path:
    return Path(folder_paths.get_full_path_or_raise(KIND, value))
