"""Files are written whole or not at all, never over others unasked, and always the same."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from textual_inversion.embeddings_io import saving
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.formats import read
from textual_inversion.embeddings_io.metadata import describe
from textual_inversion.embeddings_io.safetensors_bytes import to_bytes
from textual_inversion.embeddings_io.thumbnails import thumbnail

GOLDEN = "deb9f95c914ee2cd661724b0b4457a72b3b75cf1d629380795b26bc462d60363"
WIDTHS = {"clip_l": 768, "clip_h": 1024, "clip_g": 1280, "t5xxl": 4096}


def embedding(name: str = "cat", *keys: str, seed: int = 0) -> Embedding:
    generator = torch.Generator().manual_seed(seed)
    vectors = {key: torch.randn(2, WIDTHS[key], generator=generator) for key in keys or ["clip_l"]}
    return Embedding(name, vectors, describe(name=name, steps=5))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("encoders", "stored"),
    [
        (["clip_l"], ["emb_params"]),
        (["clip_h"], ["emb_params"]),
        (["clip_g"], ["clip_g"]),
        (["clip_l", "clip_g"], ["clip_g", "clip_l"]),
        (["clip_l", "clip_g", "t5xxl"], ["clip_g", "clip_l", "t5xxl"]),
    ],
)
def test_saved_embeddings_are_read_back_as_they_were(
    tmp_path: Path, encoders: list[str], stored: list[str]
) -> None:
    saved = embedding("style/cat", *encoders)
    path = saving.save(saved, tmp_path)
    assert path == tmp_path / "style" / "cat.safetensors"
    assert sorted(load_file(path)) == stored
    back = read(path, "style/cat")
    assert back.metadata == saved.metadata
    assert sorted(back.vectors) == sorted(encoders)
    assert all(torch.equal(back.vectors[key], saved.vectors[key]) for key in encoders)


def test_a_tiny_width_keeps_its_encoder(tmp_path: Path) -> None:
    tiny = Embedding("tiny", {"clip_l": torch.ones(1, 8)})
    assert list(read(saving.save(tiny, tmp_path)).vectors) == ["clip_l"]


def test_the_same_embedding_gives_the_same_bytes_in_every_process() -> None:
    tensors = {"b": torch.ones(2, 3), "a": torch.zeros(1, 3)}
    data = to_bytes(tensors, dict.fromkeys("xyz", "é"))
    assert data == to_bytes(dict(reversed(tensors.items())), dict.fromkeys("zyx", "é"))
    assert hashlib.sha256(data).hexdigest() == GOLDEN


def test_the_header_is_what_comfyui_reads(tmp_path: Path) -> None:
    data = saving.save(embedding(), tmp_path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0 and header["__metadata__"]["modelspec.title"] == "cat"


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    first = saving.save(embedding(seed=1), tmp_path).read_bytes()
    with pytest.raises(EmbeddingError, match=r"'cat' exists already \(cat\.safetensors"):
        saving.save(embedding(seed=2), tmp_path)
    assert (tmp_path / "cat.safetensors").read_bytes() == first
    saving.save(embedding(seed=2), tmp_path, overwrite=True)
    assert (tmp_path / "cat.safetensors").read_bytes() != first
    assert files(tmp_path) == ["cat.safetensors"]


def test_saving_the_same_again_is_no_overwrite(tmp_path: Path) -> None:
    saving.save(embedding(), tmp_path)
    saving.save(embedding(), tmp_path)


@pytest.mark.parametrize("ending", [".pt", ".bin"])
def test_a_file_of_another_kind_is_not_shadowed_unasked(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"cat{ending}").write_bytes(b"x")
    with pytest.raises(EmbeddingError, match=f"cat{ending}"):
        saving.save(embedding(), tmp_path)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = saving.save(embedding(seed=1), tmp_path).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EmbeddingError, match=r"Cannot write to .*: No space left on device\."):
        saving.save(embedding(seed=2), tmp_path, overwrite=True)
    assert (tmp_path / "cat.safetensors").read_bytes() == first
    assert files(tmp_path) == ["cat.safetensors"]


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "embeddings").write_text("not a folder")
    for write in (
        lambda: saving.save(embedding(), tmp_path / "embeddings"),
        lambda: saving.check_target("cat", tmp_path / "embeddings"),
    ):
        with pytest.raises(EmbeddingError, match=r"Cannot write to .*embeddings"):
            write()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(EmbeddingError, match="Cannot write to"):
        saving.check_target("cat", tmp_path)


def test_checking_a_target_leaves_nothing_behind(tmp_path: Path) -> None:
    path = saving.check_target("style/deep/cat", tmp_path / "embeddings")
    assert path == tmp_path / "embeddings" / "style" / "deep" / "cat.safetensors"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../cat", "/cat", "a b", "con", ""])
def test_a_bad_name_never_reaches_the_disk(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbeddingError, match="The embedding name"):
        saving.check_target(name, tmp_path)


def test_the_thumbnail_lies_beside_the_file(tmp_path: Path) -> None:
    picture = thumbnail(torch.rand(2, 600, 1200, 3))
    saving.save(embedding("v1.2"), tmp_path, thumbnail=picture)
    assert files(tmp_path) == ["v1.2.preview.png", "v1.2.safetensors"]
    with Image.open(tmp_path / "v1.2.preview.png") as stored:
        assert stored.size == (512, 256) and stored.mode == "RGB" and not stored.info


def test_a_thumbnail_shows_the_picture_given() -> None:
    picture = thumbnail(torch.tensor([1.0, 0.5, -1.0]).expand(4, 4, 3))
    assert picture.getpixel((0, 0)) == (255, 128, 0) and picture.size == (4, 4)
