"""Where ComfyUI keeps embeddings and LoRAs."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import folder_paths

from ..embeddings_io.atomic import place
from ..embeddings_io.embedding import EmbeddingError
from ..embeddings_io.library import Library
from ..embeddings_io.names import check_file_name

KIND = "embeddings"
LORAS = "loras"
OUTPUT = "output/embeddings"
SAVE_PLACES = ("models/embeddings", OUTPUT)
"""Where files go that are not for ComfyUI's prompts alone, in the words of a combo."""


def embedding_folders() -> list[Path]:
    """All embeddings folders, the one that files are saved to first."""
    return [Path(folder) for folder in folder_paths.get_folder_paths(KIND)]


def save_folder() -> Path:
    """The folder that new embeddings are saved to."""
    return embedding_folders()[0]


def records_folder() -> Path:
    """Where the plots and tables of runs are kept."""
    return Path(folder_paths.get_output_directory()) / "textual_inversion"


def library() -> Library:
    """The library over today's folders; the index is kept between calls."""
    return _library(tuple(embedding_folders()))


def listed_files() -> list[str]:
    """The files for a combo, with sub-folder and extension: ComfyUI's list, then picture cards."""
    cards = [entry.relative for entry in library().index().entries if entry.is_card]
    return [*folder_paths.get_filename_list(KIND), *(card.replace("/", os.sep) for card in cards)]


def place_folder(place: str) -> Path:
    """The folder behind one of SAVE_PLACES."""
    if place == OUTPUT:
        return Path(folder_paths.get_output_directory(), KIND)
    return save_folder()


def listed_loras() -> list[str]:
    """The LoRA files that ComfyUI lists."""
    return folder_paths.get_filename_list(LORAS)


def lora_path(name: str) -> Path:
    """The path of a listed LoRA. Raises EmbeddingError for any other name."""
    path = folder_paths.get_full_path(LORAS, name) if name in listed_loras() else None
    if path is None:
        raise EmbeddingError(f"The LoRA '{name[:80]}' is not in models/loras; press R to refresh.")
    return Path(path)


def new_lora_path(source: str, name: str) -> Path:
    """The path in models/loras for a LoRA called `name`, or after `source` if that is empty."""
    name = name or f"{os.path.splitext(source)[0].replace(os.sep, '/')}-with-embeddings"
    check_file_name(name)
    return place(Path(folder_paths.get_folder_paths(LORAS)[0]), name, ".safetensors")


def listed_name(path: Path) -> str:
    """A file of models/loras as ComfyUI lists it."""
    return str(path.relative_to(folder_paths.get_folder_paths(LORAS)[0]))


@lru_cache(maxsize=4)
def _library(folders: tuple[Path, ...]) -> Library:
    return Library(folders)
