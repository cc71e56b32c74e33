"""Which checkpoint file a MODEL came from, read off the graph that is being run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths

_FILE_INPUTS = ("ckpt_name", "unet_name", "model_name")
_KINDS = ("checkpoints", "diffusion_models")
_HASHED_FROM, _HASHED = 0x100000, 0x10000


def base_model_name(prompt: Mapping[str, Any] | None, node_id: str | None, name: str) -> str:
    """The file that input ``name`` of a node leads back to; '' where the graph doesn't say."""
    if not prompt or node_id is None:
        return ""
    seen: set[str] = set()
    current, link = node_id, name
    while current not in seen:
        seen.add(current)
        inputs = prompt.get(current, {}).get("inputs", {})
        found = next((inputs[key] for key in _FILE_INPUTS if isinstance(inputs.get(key), str)), "")
        if found and current != node_id:
            return found
        following = inputs.get(link)
        if not isinstance(following, list):
            return ""
        current, link = str(following[0]), "model"
    return ""


def base_model_hash(name: str) -> str:
    """A1111's short hash of a checkpoint's file, eight digits; '' where there is no such file.

    SHA-256 of the 64 KiB that begin at 1 MiB, which takes no time for a file of any size.
    """
    for kind in _KINDS:
        path = folder_paths.get_full_path(kind, name) if name else None
        if path is not None:
            with Path(path).open("rb") as file:
                file.seek(_HASHED_FROM)
                return hashlib.sha256(file.read(_HASHED)).hexdigest()[:8]
    return ""
