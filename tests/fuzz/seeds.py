"""Where the fuzzer starts: a file of every kind, good, refused and hostile."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.thumbnails import with_cover
from textual_inversion.tests.unit import attacks
from textual_inversion.tests.unit.embedding_files import (
    BUNDLE,
    LORA,
    READABLE,
    REFUSED,
    pt,
    st,
    vectors,
)


def seeds() -> Iterator[tuple[str, bytes]]:
    """Ending and content."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for _, make, _ in READABLE.values():
            yield _taken(make(folder))
        for tensors in REFUSED.values():
            small = {key: rows.flatten()[:2].clone() for key, rows in tensors.items()}
            yield _taken(st(folder, small))
            yield _taken(pt(folder, small))
        yield _taken(st(folder, LORA | {key: rows[:1, :8] for key, rows in BUNDLE.items()}))
        tiny = Embedding("tiny", {"clip_l": torch.ones(1, 8)}, {"modelspec.title": "tiny"})
        yield _taken(formats.write(tiny, folder, "comfyui")[0])
        shown = with_cover(tiny, Image.new("RGB", (4, 4), (255, 0, 0)))
        yield _taken(formats.write(shown, folder, "comfyui")[0])
        yield _taken(pt(folder, {"clip_l": torch.ones(1, 8)}))
        yield _taken(pt(folder, {"clip_l": torch.ones(1, 8)}, _use_new_zipfile_serialization=False))
        one = Embedding("one", vectors("clip_l", count=1), {"textual_inversion.steps": "5"})
        for format_name in ("a1111_pt", "diffusers"):
            yield _taken(formats.write(one, folder, format_name)[0])
        for program in attacks.programs(folder / "canary").values():
            yield _taken(attacks.in_zip(program, folder / "x.pt"))
            yield _taken(attacks.in_legacy(program, folder / "x.pt"))


def _taken(path: Path) -> tuple[str, bytes]:
    content = path.read_bytes()
    path.unlink()
    return path.suffix, content
