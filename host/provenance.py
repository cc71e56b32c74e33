"""Which checkpoint file a MODEL came from, read off the graph that is being run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FILE_INPUTS = ("ckpt_name", "unet_name", "model_name")


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
