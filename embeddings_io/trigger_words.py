"""The words that an embedding's file says it answers to, beside its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from .metadata import OWN, TRIGGER_PHRASE
from .names import EmbeddingError
from .safetensors_bytes import read_header

KEYS = (TRIGGER_PHRASE, f"{OWN}trigger_words", "ss_trigger_words")
"""Metadata keys that list them, separated by commas."""

SAFETENSORS = (".safetensors", ".sft")


def trigger_words(metadata: Mapping[str, str]) -> list[str]:
    """The trigger words in a file's metadata; its own 'embedding:name' is none."""
    listed = (word.strip() for key in KEYS for word in metadata.get(key, "").split(","))
    return list(dict.fromkeys(word for word in listed if word and "embedding:" not in word))


def trigger_words_of(path: Path) -> list[str]:
    """The trigger words of a safetensors file, from its header; none where it has none."""
    if path.suffix.lower() not in SAFETENSORS:
        return []
    try:
        status = path.stat()
        return list(_of_file(path, status.st_mtime_ns, status.st_size))
    except (OSError, EmbeddingError):
        return []


@lru_cache(maxsize=16384)
def _of_file(path: Path, changed: int, size: int) -> tuple[str, ...]:
    metadata = read_header(path).get("__metadata__")
    return tuple(trigger_words(metadata)) if isinstance(metadata, Mapping) else ()
