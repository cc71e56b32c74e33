"""Schema fields that only newer versions of ComfyUI know."""

from dataclasses import fields

from comfy_api.latest import io


def aliases(*words: str) -> dict[str, list[str]]:
    """Further words under which the menu's search finds a node, where the host has them."""
    known = {field.name for field in fields(io.Schema)}
    return {"search_aliases": list(words)} if "search_aliases" in known else {}
