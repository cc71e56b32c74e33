"""Every kind of file that other programs write is read, and taken for what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from textual_inversion.embeddings_io import formats, safetensors_bytes
from textual_inversion.embeddings_io.embedding import EmbeddingError
from textual_inversion.embeddings_io.formats import refusals
from textual_inversion.tests.unit.embedding_files import (
    BUNDLE,
    LORA,
    READABLE,
    REFUSED,
    G,
    L,
    a1111,
    card_of_pixels,
    original,
    pair,
    pt,
    st,
)


@pytest.mark.parametrize("what", READABLE)
def test_it_is_read_bit_for_bit(tmp_path: Path, what: str) -> None:
    _, make, expected = READABLE[what]
    embedding = formats.read(make(tmp_path))
    assert sorted(embedding.vectors) == sorted(expected)
    assert all(torch.equal(embedding.vectors[key], expected[key]) for key in expected)
    (only,) = formats.read_many(make(tmp_path))
    assert all(torch.equal(only.vectors[key], expected[key]) for key in expected)


@pytest.mark.parametrize("what", READABLE)
def test_it_is_described_without_reading_a_tensor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    format_name, make, expected = READABLE[what]
    path = make(tmp_path)
    monkeypatch.setattr(safetensors_bytes, "read_tensors", lambda _: pytest.fail("was read"))
    monkeypatch.setattr(formats.opening, "read_tensors", lambda _: pytest.fail("was read"))
    described = formats.describe(path)
    assert described.format_name == format_name
    assert described.label == formats.FORMATS[format_name].LABEL
    assert described.shapes == {key: tuple(rows.shape) for key, rows in expected.items()}
    monkeypatch.undo()
    assert described.metadata == formats.read(path).metadata


def test_every_format_has_a_file_here() -> None:
    assert {format_name for format_name, _, _ in READABLE.values()} == set(formats.FORMATS)


@pytest.mark.parametrize("what", ["A1111", "emb_params", "card of pixels"])
def test_the_ending_does_not_matter(tmp_path: Path, what: str) -> None:
    _, make, expected = READABLE[what]
    for ending in (".safetensors", ".pt", ".bin", ".ckpt"):
        path = make(tmp_path).rename(tmp_path / f"other{ending}")
        assert torch.equal(formats.read(path).vectors["clip_l"], expected["clip_l"])
        path.unlink()


def test_what_a_trainer_noted_becomes_metadata(tmp_path: Path) -> None:
    assert formats.read(pt(tmp_path, a1111(L))).metadata == {
        "textual_inversion.steps": "500",
        "textual_inversion.base_model": "sd15",
        "textual_inversion.base_model_hash": "abcd",
    }
    placeholder = formats.read(st(tmp_path, {"<cat>": L})).metadata
    assert placeholder == {"textual_inversion.placeholder": "<cat>"}


def test_the_second_file_alone_is_its_own(tmp_path: Path) -> None:
    second = pair(tmp_path).with_name("learned_embeds_2.safetensors")
    assert list(formats.read(second).vectors) == ["clip_g"]


def test_a_stranger_of_that_name_is_no_second_file(tmp_path: Path) -> None:
    st(tmp_path, {"<cat>": L}, "cat")
    st(tmp_path, {"<cat>": L}, "cat_2")
    assert list(formats.read(tmp_path / "cat.safetensors").vectors) == ["clip_l"]
    st(tmp_path, {"<dog>": G}, "cat_2")
    assert list(formats.read(tmp_path / "cat.safetensors").vectors) == ["clip_l"]
    (tmp_path / "cat_2.safetensors").write_bytes(b"broken")
    assert list(formats.read(tmp_path / "cat.safetensors").vectors) == ["clip_l"]


def test_bundled_embeddings_are_read_by_name(tmp_path: Path) -> None:
    path = st(tmp_path, {**LORA, **BUNDLE, "bundle_emb.dog<v1.2>.t5": torch.ones(3, 4096)})
    cat, other = formats.read_many(path)
    assert (cat.name, other.name) == ("cat", "dog_v1.2")
    assert sorted(cat.vectors) == ["clip_g", "clip_l"] and list(other.vectors) == ["t5xxl"]
    assert formats.lora_bundle.names(path) == ["cat", "dog<v1.2>"]
    (again,) = formats.lora_bundle.read(path, ["cat"])
    assert torch.equal(again.vectors["clip_l"], L) and torch.equal(again.vectors["clip_g"], G)
    with pytest.raises(
        EmbeddingError, match=r"no bundled embedding 'dog'; it has cat, dog<v1\.2>\."
    ):
        formats.lora_bundle.read(path, ["dog"])
    with pytest.raises(
        EmbeddingError, match=r"is a LoRA with the embeddings 'cat', 'dog<v1\.2>' inside"
    ):
        formats.read(path)


def test_a_lora_of_any_size_is_read_from_its_own_bytes(tmp_path: Path) -> None:
    path = st(tmp_path, BUNDLE)
    header, start = safetensors_bytes.read_header(path), safetensors_bytes.data_start(path)
    data = path.read_bytes()[start:]
    end = 8 * 2**30
    header["x.lora_up.weight"] = {"dtype": "U8", "shape": [end], "data_offsets": [len(data), 0]}
    header["x.lora_up.weight"]["data_offsets"][1] = len(data) + end
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    with path.open("r+b") as file:
        file.truncate(8 + len(text) + len(data) + end)
    (cat,) = formats.read_many(path)
    assert torch.equal(cat.vectors["clip_g"], G)


def test_a_lora_without_embeddings_says_so(tmp_path: Path) -> None:
    path = st(tmp_path, LORA)
    assert formats.lora_bundle.names(path) == []
    with pytest.raises(EmbeddingError, match=r"cat\.safetensors has no embeddings bundled inside"):
        formats.lora_bundle.read(path)


def test_a_bundle_of_several_is_not_read_as_one(tmp_path: Path) -> None:
    path = st(tmp_path, {**BUNDLE, "bundle_emb.dog.clip_l": L})
    with pytest.raises(EmbeddingError, match="holds 2 embeddings, 'cat', 'dog'"):
        formats.read(path)
    assert formats.describe(path).names == ("cat", "dog")


def test_several_placeholders_are_several_embeddings(tmp_path: Path) -> None:
    path = pt(tmp_path, original(("cat", "dog")))
    assert [embedding.name for embedding in formats.read_many(path)] == ["cat", "dog"]
    with pytest.raises(EmbeddingError, match="holds 2 embeddings"):
        formats.read(path)


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
@pytest.mark.parametrize("what", refusals.KINDS)
def test_other_files_are_refused_by_name(tmp_path: Path, what: str, ending: str) -> None:
    tensors = REFUSED[what]
    path = tmp_path / f"x{ending}"
    if ending == ".pt":
        torch.save(tensors, path)
    else:
        save_file(tensors, path)
    for reader in (formats.read, formats.read_many, formats.describe):
        with pytest.raises(EmbeddingError) as raised:
            reader(path)
        assert what in str(raised.value) and str(raised.value).startswith(f"x{ending} is a")
        assert str(raised.value).endswith(".") and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "data",
    [
        [[torch.ones(1, 77, 768), {"pooled_output": torch.ones(1, 768)}]],
        {"x": torch.ones(1, 77, 768)},
        torch.ones(77, 768),
        {"<cat>": torch.ones(154, 1024)},
    ],
)
def test_conditionings_are_told_by_their_shape(tmp_path: Path, data: object) -> None:
    with pytest.raises(EmbeddingError, match="is a conditioning"):
        formats.read(pt(tmp_path, data))


@pytest.mark.parametrize("shape", [(1, 768), (768,)])
def test_aesthetic_gradients_are_told_by_their_length(tmp_path: Path, shape: tuple) -> None:
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.55
    with pytest.raises(EmbeddingError, match="is an aesthetic gradient"):
        formats.read(pt(tmp_path, features))
    assert formats.read(pt(tmp_path, features / 10)).vectors["clip_l"].shape == (1, 768)


def test_a_bundled_output_embedding_is_refused(tmp_path: Path) -> None:
    path = st(tmp_path, {"bundle_emb.cat.clip_l_out": L})
    with pytest.raises(EmbeddingError, match="the bundled 'cat' is an output embedding"):
        formats.read(path)


FOREIGN = {
    "GGUF": b"GGUF\x03\0\0\0" + bytes(64),
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "web page": b"<!DOCTYPE html><html><body>Please log in</body></html>",
    "gzip": b"\x1f\x8b\x08" + bytes(40),
    "no torch file": b"just some words, nothing more, really nothing at all",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_what_people_take_for_a_file_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(FOREIGN[what])
    with pytest.raises(EmbeddingError, match=what):
        formats.read(path)


def test_an_ordinary_picture_is_no_card(tmp_path: Path) -> None:
    for picture in (Image.new("RGB", (20, 20), "red"), Image.new("L", (9, 9)), noise_picture()):
        picture.save(tmp_path / "x.png")
        with pytest.raises(EmbeddingError, match="is a picture without an embedding"):
            formats.read(tmp_path / "x.png")
    noise_picture().save(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").rename(tmp_path / "x.webp")
    with pytest.raises(EmbeddingError, match="is not a PNG or WebP picture"):
        formats.read(tmp_path / "x.webp")


def test_a_card_that_went_through_jpeg_is_no_card(tmp_path: Path) -> None:
    with Image.open(card_of_pixels(tmp_path)) as card:
        card.convert("RGB").save(tmp_path / "x.webp", quality=80)
    with pytest.raises(EmbeddingError, match="without an embedding"):
        formats.read(tmp_path / "x.webp")


def noise_picture() -> Image.Image:
    pixels = torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())
