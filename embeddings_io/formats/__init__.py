"""Reading embeddings of every format, one module a format. No file is ever executed.

A format module has NAME, detect(container) -> bool, read(container) -> vectors by encoder key, and,
where the file says more than its vectors, describe(container) -> metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from ..embedding import Embedding, EmbeddingError
from ..names import safe_name
from ..safetensors_bytes import MAX_FILE, read_header, read_tensors
from . import a1111_pt, encoder_keys, single_tensor
from .container import Container
from .refusals import refuse_by_keys, refuse_unknown
from .torch_file import read_torch_file

FORMATS: tuple[ModuleType, ...] = (a1111_pt, encoder_keys, single_tensor)
SAFETENSORS = (".safetensors", ".sft")


def read(path: Path, name: str | None = None) -> Embedding:
    """The embedding in a file, called `name`, or the nearest allowed name to the file's own.

    Raises EmbeddingError, with one sentence naming the file, for everything that is not an
    embedding: LoRAs and checkpoints are refused from their keys before a tensor is read.
    """
    container = open_container(path)
    for module in FORMATS:
        if module.detect(container):
            vectors = module.read(container)
            metadata = _metadata(module, container)
            return Embedding(name or safe_name(path.name), vectors, metadata)
    raise refuse_unknown(container)


def open_container(path: Path) -> Container:
    """The content of a file by its kind, after its keys were looked at."""
    try:
        if path.stat().st_size == 0:
            raise EmbeddingError(f"{path.name} is empty; get it again.")
        if path.suffix.lower() in SAFETENSORS:
            header = read_header(path)
            metadata = header.pop("__metadata__", None) or {}
            refuse_by_keys(path, header)
            return Container(path, read_tensors(path), metadata)
        data = read_torch_file(path, MAX_FILE, lambda keys: refuse_by_keys(path, keys))
        return Container(path, data)
    except OSError as error:
        raise EmbeddingError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _metadata(module: ModuleType, container: Container) -> Mapping[str, str]:
    describe = getattr(module, "describe", None)
    return {**container.metadata, **(describe(container) if describe else {})}
