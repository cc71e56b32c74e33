"""Where ComfyUI keeps embeddings."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import folder_paths

from ..embeddings_io.library import Library

KIND = "embeddings"


def embedding_folders() -> list[Path]:
    """All embeddings folders, the one that files are saved to first."""
    return [Path(folder) for folder in folder_paths.get_folder_paths(KIND)]


def save_folder() -> Path:
    """The folder that new embeddings are saved to."""
    return embedding_folders()[0]


def library() -> Library:
    """The library over today's folders; the index is kept between calls."""
    return _library(tuple(embedding_folders()))


def listed_files() -> list[str]:
    """The files that ComfyUI lists, with sub-folder and extension, for a combo."""
    return folder_paths.get_filename_list(KIND)


@lru_cache(maxsize=4)
def _library(folders: tuple[Path, ...]) -> Library:
    return Library(folders)
