"""Metadata and thumbnails within a file change; its tensors never do."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import struct
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.editing import edit_metadata
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.metadata import (
    COVERS,
    EDITABLE,
    HASH,
    THUMBNAIL,
    TRIGGER_PHRASE,
    describe,
    edited,
    told,
)
from textual_inversion.embeddings_io.saving import save
from textual_inversion.embeddings_io.thumbnails import (
    COVER_SIZE,
    cover_of,
    covered,
    thumbnail_of,
    with_cover,
)


def data_of(path: Path) -> tuple[dict, bytes]:
    """The header's tensors and the bytes behind the header, read without the pack."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    return header, content[8 + length :]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_stay_bit_for_bit_whatever_is_written(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "any.safetensors"
    odd = {
        "b": torch.rand(3, 5).to(dtype),
        "a": torch.arange(7),
        "nan": torch.tensor([float("nan")]),
    }
    save_file(odd, path, {"modelspec.title": "old", "theirs": "kept"})
    before = data_of(path)
    changed = edit_metadata(path, lambda said: edited(said, {"title": "new ✓", "author": "Ada"}))
    assert data_of(path) == before
    with safe_open(path, "pt") as file:
        assert (
            file.metadata()
            == changed
            == {
                "modelspec.title": "new ✓",
                "modelspec.author": "Ada",
                "theirs": "kept",
            }
        )
        assert all(file.get_tensor(key).dtype == odd[key].dtype for key in odd)
    edit_metadata(path, lambda said: {})
    assert data_of(path) == before
    assert os.listdir(tmp_path) == ["any.safetensors"]


def test_a_full_disk_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(Embedding("cat", {"clip_l": torch.ones(1, 768)}), tmp_path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EmbeddingError, match="No space left on device"):
        edit_metadata(path, lambda said: edited(said, {"title": "x"}))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["cat.safetensors"]


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (old,) = formats.write(Embedding("old", {"clip_l": torch.ones(1, 768)}), tmp_path, "a1111_pt")
    with pytest.raises(EmbeddingError, match=r"old\.pt cannot hold a description; convert"):
        edit_metadata(old, dict)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 40)
    with pytest.raises(EmbeddingError, match=r"broken\.safetensors is not a whole"):
        edit_metadata(broken, dict)
    assert broken.read_bytes() == b"\xff" * 40


def test_empty_leaves_a_text_and_a_dash_takes_it_out() -> None:
    said = describe(name="cat", author="Ada", license="CC0-1.0", tags=["cat", "toy"])
    changed = edited(said, {"author": "", "license": " - ", "trigger_words": " my cat "})
    assert changed["modelspec.author"] == "Ada" and "modelspec.license" not in changed
    assert changed[TRIGGER_PHRASE] == "my cat" and said[TRIGGER_PHRASE] == "embedding:cat"
    assert changed["modelspec.tags"] == "cat, toy"
    with pytest.raises(EmbeddingError, match="'colour' cannot be edited; choose from title"):
        edited(said, {"colour": "red"})
    assert all(key.startswith("modelspec.") for key in EDITABLE.values())


def test_what_a_person_is_told() -> None:
    said = describe(
        name="cat", steps=400, pictures=6, initializer_text="toy", base_model="m.ckpt", author="Ada"
    )
    assert told(said) == [
        "title: cat",
        "trigger_words: embedding:cat",
        "author: Ada",
        "trained: 400 steps, 6 pictures, from 'toy', on m.ckpt",
    ]
    assert told({}) == []


def test_every_file_says_what_modelspec_demands() -> None:
    both = {"clip_g": torch.ones(1, 1280), "clip_l": torch.ones(1, 768)}
    said = Embedding("sub/cat", both, {"theirs": "kept"}).identified().metadata
    assert said == {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/textual-inversion",
        "modelspec.implementation": "https://github.com/comfyanonymous/ComfyUI",
        "modelspec.title": "sub/cat",
        "modelspec.trigger_phrase": "embedding:sub/cat",
        "theirs": "kept",
    }
    trained = describe(name="cat", architecture="stable-diffusion-v1")
    trained["modelspec.title"] = "My cat"
    kept = Embedding("cat", {"clip_l": torch.ones(1, 768)}, trained).identified()
    assert kept.metadata == trained


def hash_of(path: Path) -> str:
    """As ModelSpec 1.0.1 says: SHA-256 of all tensor content, '0x' before it."""
    return "0x" + hashlib.sha256(data_of(path)[1]).hexdigest()


def said_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata() or {}


@pytest.mark.parametrize("format_name", ["comfyui", "diffusers", "sd3_flux"])
def test_a_written_file_has_modelspecs_hash_of_its_tensors(
    tmp_path: Path, format_name: str
) -> None:
    encoders = {"clip_l": torch.rand(2, 768), "clip_g": torch.rand(2, 1280)}
    if format_name == "sd3_flux":
        encoders["t5xxl"] = torch.rand(2, 4096)
    paths = formats.write(Embedding("cat", encoders).identified(), tmp_path, format_name)
    assert len(paths) == (2 if format_name == "diffusers" else 1)
    for path in paths:
        assert said_of(path)[HASH] == hash_of(path)
        edit_metadata(path, lambda said: edited(said, {"author": "Ada"}))
        assert said_of(path)[HASH] == hash_of(path)
    assert HASH not in formats.read(paths[0]).metadata
    (old,) = formats.write(Embedding("cat", {"clip_l": torch.ones(1, 768)}), tmp_path / "plain")
    assert HASH not in said_of(old)


def test_a_wrong_hash_is_put_right_by_editing(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    said = {"modelspec.sai_model_spec": "1.0.0", HASH: "0x" + "0" * 64}
    save_file({"emb_params": torch.ones(1, 768)}, path, said)
    edit_metadata(path, lambda said: said)
    assert said_of(path)[HASH] == hash_of(path)
    (other,) = formats.write(formats.read(path).renamed("y"), tmp_path, "a1111_pt")
    assert HASH not in formats.read(other).metadata


def test_a_bundle_has_its_own_hash_and_not_the_loras(tmp_path: Path) -> None:
    lora, both = tmp_path / "lora.safetensors", tmp_path / "both.safetensors"
    said = {"a": f'"{HASH}":"', HASH: "0x12", "modelspec.title": "t"}
    save_file({"x.lora_up.weight": torch.rand(70, 4096)}, lora, said)
    cat = Embedding("cat", {"clip_l": torch.rand(2, 768)})
    formats.lora_bundle.write(lora, [cat], both)
    assert said_of(both) == {**said, HASH: hash_of(both)}
    assert torch.equal(formats.lora_bundle.read(both)[0].vectors["clip_l"], cat.vectors["clip_l"])
    save_file({"x.lora_up.weight": torch.rand(2, 2)}, lora)
    formats.lora_bundle.write(lora, [cat], both, overwrite=True)
    assert said_of(both) == {}


def test_a_picture_lies_where_comfyui_and_where_modelspec_want_it(tmp_path: Path) -> None:
    wide = Image.new("RGB", (900, 600), (0, 0, 255))
    wide.paste((255, 0, 0), (300, 0, 600, 600))
    cat = Embedding("cat", {"clip_l": torch.ones(1, 768)}, describe(name="cat"))
    said = said_of(save(with_cover(cat, wide), tmp_path))
    beginning, _, text = said[THUMBNAIL].partition("base64,")
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as icon:
        assert beginning == "data:image/jpeg;" and icon.size == (256, 256)
        assert icon.getpixel((128, 128))[0] > 200 and icon.getpixel((2, 2))[2] > 200
    del said[COVERS]
    assert cover_of(said).size == (256, 256)


def test_a_file_carries_its_picture(tmp_path: Path) -> None:
    picture = Image.effect_noise((1600, 900), 90)
    plain = Embedding("cat", {"clip_l": torch.ones(1, 768)}, describe(name="cat"))
    path = save(with_cover(plain, picture), tmp_path)
    back = formats.read(path)
    (text,) = json.loads(back.metadata[COVERS])
    with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as shown:
        assert shown.format == "JPEG" and shown.size == (COVER_SIZE, 216)
    assert path.stat().st_size < 256 * 1024
    assert cover_of(back.metadata).size == (COVER_SIZE, 216)
    assert edit_metadata(path, lambda said: covered(said, Image.new("RGB", (8, 8))))[COVERS] != text


@pytest.mark.parametrize("text", ["", "[]", "[3]", "{}", '["!"]', '["aGVsbG8="]', "nonsense"])
def test_a_broken_picture_is_none(text: str) -> None:
    assert cover_of({COVERS: text}) is None and cover_of({}) is None
    assert cover_of({THUMBNAIL: text}) is None


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_picture_that_breaks_or_claims_much_is_none(tmp_path: Path) -> None:
    (path,) = formats.write(Embedding("c", {"clip_l": torch.ones(1, 768)}), tmp_path)
    buffer = io.BytesIO()
    Image.new("L", (12_000, 12_000)).save(buffer, "PNG", optimize=True)
    enormous = buffer.getvalue()
    assert len(enormous) < 300_000
    head = b"\x89PNG\r\n\x1a\n"
    size = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    broken = {
        "enormous": enormous,
        "short header": head + chunk(b"IHDR", b"\0\0\0\4"),
        "no data": head + chunk(b"IHDR", size) + chunk(b"IDAT", b"x") + chunk(b"IEND", b""),
        "short chunk": head + chunk(b"IHDR", size) + chunk(b"tRNS", b"") + chunk(b"pHYs", b"\0"),
        "no picture": b"text",
    }
    for what, content in broken.items():
        (tmp_path / "c.png").write_bytes(content)
        assert thumbnail_of(path, {}) is None, what
        covers = json.dumps([base64.b64encode(content).decode()])
        assert cover_of({COVERS: covers}) is None, what


def test_the_picture_beside_the_file_wins(tmp_path: Path) -> None:
    path = save(with_cover(Embedding("c", {"clip_l": torch.ones(1, 768)}), red()), tmp_path)
    said = formats.read(path).metadata
    assert thumbnail_of(path, said).getpixel((0, 0))[0] > 200
    Image.new("RGB", (4, 4), (0, 0, 255)).save(tmp_path / "c.png")
    assert thumbnail_of(path, said).getpixel((0, 0)) == (0, 0, 255)
    (tmp_path / "c.preview.png").write_bytes(b"broken")
    assert thumbnail_of(path, said).getpixel((0, 0))[0] > 200


def red() -> Image.Image:
    return Image.new("RGB", (4, 4), (255, 0, 0))
