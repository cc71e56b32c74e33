"""An embedding as text, small enough to live in a workflow: base64 of a safetensors file.

The file holds float32 tensors by encoder key and the metadata, with the name as its title.
"""

from __future__ import annotations

import base64
import binascii
import json

import safetensors
import safetensors.torch

from .embedding import Embedding, EmbeddingError
from .metadata import TITLE
from .safetensors_bytes import to_bytes

MAX_BYTES = 192 * 1024
"""Bytes of the file inside; 24 vectors of Stable Diffusion XL, 64 of Stable Diffusion 1.5."""

LONGEST_ENTRY = 2000
"""Characters of a metadata entry that is carried along; pictures are left behind."""


def pack(embedding: Embedding) -> str:
    """The embedding as one line of text. Raises EmbeddingError above MAX_BYTES."""
    entries = {k: v for k, v in embedding.metadata.items() if len(v) <= LONGEST_ENTRY}
    content = to_bytes(embedding.vectors, {**entries, TITLE: embedding.name})
    if len(content) > MAX_BYTES:
        raise EmbeddingError(
            f"Embedding '{embedding.name}' takes {len(content) // 1024} KiB; a workflow carries at "
            f"most {MAX_BYTES // 1024}, so share the file instead."
        )
    return base64.b64encode(content).decode("ascii")


def unpack(text: str) -> Embedding:
    """The embedding in a packed text; spaces and line breaks in it don't matter.

    Raises EmbeddingError for anything that is not whole, too large, or no embedding. No file is
    written and nothing is executed.
    """
    packed = "".join(text.split())
    if not packed:
        raise EmbeddingError("The carrier is empty; connect an embedding and run once to fill it.")
    if len(packed) > MAX_BYTES * 4 // 3 + 4:
        raise EmbeddingError(
            f"The carrier holds {len(packed) * 3 // 4096} KiB; at most {MAX_BYTES // 1024} can be."
        )
    try:
        content = base64.b64decode(packed, validate=True)
        tensors = safetensors.torch.load(content)
        metadata = _metadata(content)
    except (binascii.Error, safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as e:
        raise EmbeddingError(
            "The carrier's text is not a whole embedding; copy it again from where it was made."
        ) from e
    name = metadata.get(TITLE, "")
    return Embedding(name, tensors, metadata)


def _metadata(content: bytes) -> dict[str, str]:
    """The texts in the header of a file that safetensors has accepted."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    return dict(metadata) if isinstance(metadata, dict) else {}
