"""Workflows in ComfyUI's input folder, and the one that is running."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths

from ..embeddings_io.embedding import EmbeddingError
from ..embeddings_io.needs import workflow_in

ENDINGS = (".json", ".png", ".webp")


def chosen_workflow(name: str, hidden: Any) -> Mapping[str, Any]:
    """The workflow of a file in the input folder, or the running one for an empty name.

    Raises EmbeddingError for every other name, paths out of the folder among them.
    """
    if not name.strip():
        return dict(hidden.prompt or {})
    folder = Path(folder_paths.get_input_directory())
    files = {one.name: one for one in folder.iterdir() if one.suffix.lower() in ENDINGS}
    if name.strip() not in files:
        raise EmbeddingError(
            f"There is no workflow or picture '{name.strip()}' in the input folder {folder}."
        )
    return workflow_in(files[name.strip()])
