"""What is written is read back bit for bit, by this pack and by the programs it is meant for."""

from __future__ import annotations

import hashlib
import json
import pickletools
import re
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, safe_open, save_file

from textual_inversion.embeddings_io import formats, saving
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.metadata import describe
from textual_inversion.tests.unit.embedding_files import LORA, G, L, st, vectors

SETS = {
    "SD1": ("clip_l",),
    "SD2": ("clip_h",),
    "SDXL": ("clip_l", "clip_g"),
    "G": ("clip_g",),
    "Flux": ("clip_l", "t5xxl"),
    "SD3": ("clip_l", "clip_g", "t5xxl"),
    "LLM": ("qwen3_4b",),
}
HOLDS = {
    "comfyui": set(SETS),
    "a1111_pt": {"SD1", "SD2", "SDXL"},
    "a1111_card": {"SD1", "SD2", "SDXL"},
    "diffusers": {"SD1", "SD2", "SDXL"},
    "sd3_flux": {"Flux", "SD3"},
}
PAIRS = [(name, what) for name, held in HOLDS.items() for what in sorted(held)]
WITHOUT_ROOM = {("a1111_pt", "SDXL"), ("a1111_card", "SDXL")}
"""A1111 takes every entry of these for vectors."""


def embedding(what: str = "SD1", name: str = "cat", **about: object) -> Embedding:
    """One with everything that metadata may hold."""
    about = {"initializer_text": "cät", "steps": 400, "base_model": "sd15.safetensors"} | about
    metadata = describe(name=name, encoders=SETS[what], recipe={"lr": 0.05}, **about)
    return Embedding(name, vectors(*SETS[what], count=3), metadata)


def test_every_writer_is_tried() -> None:
    assert set(HOLDS) == set(formats.WRITERS) <= set(formats.FORMATS)


@pytest.mark.parametrize(("format_name", "what"), PAIRS)
def test_it_comes_back_bit_for_bit(tmp_path: Path, format_name: str, what: str) -> None:
    written = embedding(what)
    paths = formats.write(written, tmp_path, format_name)
    assert paths[0].name == f"cat{formats.WRITERS[format_name].SUFFIX}"
    back = formats.read(paths[0])
    assert dict(back.vectors).keys() == dict(written.vectors).keys()
    for key, rows in written.vectors.items():
        assert back.vectors[key].numpy().tobytes() == rows.numpy().tobytes()
    kept = {key: back.metadata.get(key) for key in written.metadata}
    assert (kept == written.metadata) == ((format_name, what) not in WITHOUT_ROOM)


@pytest.mark.parametrize(("format_name", "what"), PAIRS)
def test_the_same_embedding_gives_the_same_bytes(
    tmp_path: Path, format_name: str, what: str
) -> None:
    def written(folder: Path) -> list[str]:
        paths = formats.write(embedding(what), folder, format_name)
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]

    assert written(tmp_path / "a") == written(tmp_path / "b")


@pytest.mark.parametrize("format_name", formats.WRITERS)
@pytest.mark.parametrize("what", SETS)
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, format_name: str, what: str) -> None:
    if what in HOLDS[format_name]:
        formats.check_writable(embedding(what), format_name)
        return
    with pytest.raises(EmbeddingError, match=f"cannot be written as {format_name}, which holds"):
        formats.write(embedding(what), tmp_path, format_name)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"'ckpt' is no format to write; choose comfyui, "):
        formats.write(embedding(), tmp_path, "ckpt")


@pytest.mark.parametrize(
    "values",
    [[1e-45, -0.0, 3.4028235e38, 1.1754944e-38], [0.1, 1 / 3, -2.5e-8, 16777217.0]],
)
@pytest.mark.parametrize("format_name", ["a1111_card", "a1111_pt", "comfyui", "diffusers"])
def test_odd_numbers_keep_every_bit(tmp_path: Path, format_name: str, values: list) -> None:
    rows = torch.tensor(values).repeat(192).reshape(1, 768)
    (path,) = formats.write(Embedding("odd", {"clip_l": rows}), tmp_path, format_name)
    back = formats.read(path).vectors["clip_l"]
    assert back.numpy().tobytes() == rows.numpy().tobytes()


@pytest.mark.parametrize("count", [1, 75])
@pytest.mark.parametrize("format_name", formats.WRITERS)
def test_one_vector_and_a_whole_prompt_of_them(
    tmp_path: Path, format_name: str, count: int
) -> None:
    what = sorted(HOLDS[format_name])[-1]
    whole = Embedding("many", vectors(*SETS[what], count=count))
    back = formats.read(formats.write(whole, tmp_path, format_name)[0])
    assert all(torch.equal(back.vectors[key], whole.vectors[key]) for key in whole.vectors)


def test_the_layouts_are_those_that_others_look_for(tmp_path: Path) -> None:
    (path,) = formats.write(embedding(), tmp_path, "a1111_pt")
    table = torch.load(path, weights_only=True)
    assert list(table["string_to_param"]) == ["*"] and table["string_to_token"] == {"*": 265}
    assert (table["name"], table["step"], table["sd_checkpoint_name"]) == (
        "cat",
        400,
        "sd15.safetensors",
    )
    sdxl = torch.load(formats.write(embedding("SDXL", "xl"), tmp_path, "a1111_pt")[0])
    assert all(isinstance(rows, torch.Tensor) for rows in sdxl.values()) and len(sdxl) == 2
    flux = load_file(formats.write(embedding("Flux", "flux"), tmp_path, "sd3_flux")[0])
    assert sorted(flux) == ["clip_l", "t5", "t5xxl"] and torch.equal(flux["t5"], flux["t5xxl"])
    first, second = formats.write(embedding("SDXL", "pair"), tmp_path, "diffusers")
    assert (first.name, second.name) == ("pair.safetensors", "pair_2.safetensors")
    assert list(load_file(first)) == list(load_file(second)) == ["<pair>"]


@pytest.mark.parametrize("what", sorted(HOLDS["a1111_pt"]))
def test_a1111_finds_nothing_unsafe_in_a_pt(tmp_path: Path, what: str) -> None:
    """Its checks: three kinds of parts in the archive, and a handful of names in the program."""
    (path,) = formats.write(embedding(what), tmp_path, "a1111_pt")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        program = archive.read("archive/data.pkl")
    allowed = re.compile(r"[^/]+/(version|data\.pkl|data/\d+)")
    assert all(map(allowed.fullmatch, names)) and len(names) == 2 + len(SETS[what])
    called = {
        argument for opcode, argument, _ in pickletools.genops(program) if opcode.name == "GLOBAL"
    }
    assert called <= {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
    }
    assert b"\x93" not in {
        opcode.code.encode("latin-1") for opcode, _, _ in pickletools.genops(program)
    }


def test_the_placeholder_of_another_trainer_is_kept(tmp_path: Path) -> None:
    read = formats.read(st(tmp_path, {"<my-toy>": L}))
    (pt,) = formats.write(read, tmp_path, "a1111_pt")
    (back,) = formats.write(formats.read(pt), tmp_path, "diffusers", overwrite=True)
    assert list(load_file(back)) == ["<my-toy>"]


def test_every_safetensors_file_is_the_libraries(tmp_path: Path) -> None:
    for format_name in ("comfyui", "diffusers", "sd3_flux"):
        for what in HOLDS[format_name]:
            for path in formats.write(embedding(what), tmp_path / format_name, format_name):
                with safe_open(path, "pt") as file:
                    assert file.metadata()["modelspec.title"] == "cat"
                    keys = list(file.keys())
                    assert all(file.get_tensor(key).dtype == torch.float32 for key in keys)
                path.unlink()


def test_a_card_shows_the_picture_and_its_name(tmp_path: Path) -> None:
    (path,) = formats.write(
        embedding(), tmp_path, "a1111_card", thumbnail=Image.new("RGB", (256, 256), (200, 30, 30))
    )
    with Image.open(path) as card:
        assert card.height == 512 and "sd-ti-embedding" in card.text
        middle = card.getpixel((card.width // 2, 256))
    assert middle == (200, 30, 30)


def test_a_card_survives_losing_its_text_and_becoming_webp(tmp_path: Path) -> None:
    (path,) = formats.write(embedding(), tmp_path, "a1111_card")
    with Image.open(path) as card:
        Image.frombytes("RGB", card.size, card.tobytes()).save(tmp_path / "bare.png")
        card.save(tmp_path / "bare.webp", lossless=True)
    for name in ("bare.png", "bare.webp"):
        back = formats.read(tmp_path / name)
        assert torch.equal(back.vectors["clip_l"], embedding().vectors["clip_l"])
        assert back.metadata == embedding().metadata


@pytest.mark.parametrize("size", [(30, 900), (900, 30), (64, 64), (1, 1)])
def test_a_card_of_any_picture_is_read_back(tmp_path: Path, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size)
    (path,) = formats.write(embedding("SDXL"), tmp_path, "a1111_card", thumbnail=picture)
    with Image.open(path) as card:
        bare = Image.frombytes("RGB", card.size, card.convert("RGB").tobytes())
    bare.save(tmp_path / "bare.png")
    back = formats.read(tmp_path / "bare.png")
    assert torch.equal(back.vectors["clip_g"], embedding("SDXL").vectors["clip_g"])


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    formats.write(embedding("SDXL"), tmp_path, "diffusers")
    formats.write(embedding("SDXL"), tmp_path, "diffusers")
    other = embedding("SDXL", steps=9)
    with pytest.raises(EmbeddingError, match=r"cat\.safetensors exists already"):
        formats.write(other, tmp_path, "diffusers")
    formats.write(other, tmp_path, "diffusers", overwrite=True)
    assert formats.read(tmp_path / "cat.safetensors").metadata["textual_inversion.steps"] == "9"


def test_saving_as_another_kind_heeds_the_name(tmp_path: Path) -> None:
    saving.save(embedding(), tmp_path)
    with pytest.raises(EmbeddingError, match="exists already"):
        saving.save(embedding(), tmp_path, format_name="a1111_pt")
    with pytest.raises(EmbeddingError, match=r"cat\.safetensors .* hides cat\.pt from ComfyUI"):
        saving.save(embedding(), tmp_path, format_name="a1111_pt", overwrite=True)
    assert saving.save(embedding(), tmp_path, format_name="a1111_card").name == "cat.png"


def test_links_out_of_the_folder_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "embeddings").mkdir()
    (tmp_path / "embeddings" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EmbeddingError, match="leads through a link out of"):
        formats.write(embedding(name="link/cat"), tmp_path / "embeddings")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_bundle_keeps_the_lora_bit_for_bit(tmp_path: Path) -> None:
    odd = {"x.lora_up.weight": torch.arange(3, dtype=torch.uint8)}
    lora = st(tmp_path, LORA | odd, "lora", {"ss_tag": '{"ä": 1}', "x": "y"})
    before = lora.read_bytes()
    cat, flux = embedding("SDXL"), embedding("Flux", "flux")
    path = formats.lora_bundle.write(lora, [cat, flux], tmp_path / "new" / "both.safetensors")
    assert lora.read_bytes() == before
    old, new = load_file(lora), load_file(path)
    assert all(new[key].dtype == old[key].dtype and torch.equal(new[key], old[key]) for key in old)
    assert new.keys() - old.keys() == {
        "bundle_emb.cat.clip_l",
        "bundle_emb.cat.clip_g",
        "bundle_emb.flux.clip_l",
        "bundle_emb.flux.t5xxl",
        "bundle_emb.flux.t5",
    }
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"ss_tag": '{"ä": 1}', "x": "y"}
    for back, written in zip(formats.read_many(path), (cat, flux), strict=True):
        assert back.name == written.name
        assert all(torch.equal(back.vectors[k], written.vectors[k]) for k in written.vectors)


def test_a_name_in_the_bundle_is_replaced(tmp_path: Path) -> None:
    lora = st(tmp_path, LORA, "lora")
    first = formats.lora_bundle.write(
        lora, [embedding("SDXL"), embedding(name="dog")], tmp_path / "a.safetensors"
    )
    second = formats.lora_bundle.write(first, [embedding("SD1")], tmp_path / "b.safetensors")
    held = {item.name: sorted(item.vectors) for item in formats.lora_bundle.read(second)}
    assert held == {"cat": ["clip_l"], "dog": ["clip_l"]}
    assert load_file(second).keys() - LORA.keys() == {
        "bundle_emb.cat.clip_l",
        "bundle_emb.dog.clip_l",
    }


def test_a_bundle_is_never_written_over_its_lora(tmp_path: Path) -> None:
    lora = st(tmp_path, LORA, "lora")
    other = st(tmp_path, {"x.lora_up.weight": G}, "other")
    for path, said in ((lora, "is the LoRA itself"), (other, "exists already")):
        with pytest.raises(EmbeddingError, match=said):
            formats.lora_bundle.write(lora, [embedding()], path)
    formats.lora_bundle.write(lora, [embedding()], other, overwrite=True)
    assert formats.lora_bundle.names(other) == ["cat"]


@pytest.mark.parametrize("name", ["v1.2", "style/cat"])
def test_names_that_a_bundle_would_cut_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbeddingError, match="at which A1111 would cut"):
        formats.lora_bundle.write(
            st(tmp_path, LORA), [embedding(name=name)], tmp_path / "new.safetensors"
        )


def test_a_full_disk_leaves_no_half_bundle(tmp_path: Path, monkeypatch) -> None:
    lora = st(tmp_path, LORA, "lora")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EmbeddingError, match="No space left on device"):
        formats.lora_bundle.write(lora, [embedding()], tmp_path / "new.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["lora.safetensors"]


def test_an_unaligned_lora_is_copied_too(tmp_path: Path) -> None:
    """Other writers may leave any order; the new file must still be the library's."""
    header = {
        "x.lora_up.weight": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "x.lora_down.weight": {"dtype": "F16", "shape": [2], "data_offsets": [3, 7]},
    }
    text = json.dumps(header).encode()
    lora = tmp_path / "lora.safetensors"
    lora.write_bytes(len(text).to_bytes(8, "little") + text + bytes(range(7)))
    path = formats.lora_bundle.write(lora, [embedding()], tmp_path / "new.safetensors")
    assert path.read_bytes().endswith(bytes(range(7)))
    (back,) = formats.lora_bundle.read(path)
    assert torch.equal(back.vectors["clip_l"], embedding().vectors["clip_l"])


def test_metadata_of_others_goes_through_conversions(tmp_path: Path) -> None:
    """A file that save_file wrote keeps its extra metadata through two conversions."""
    save_file({"emb_params": L}, tmp_path / "x.safetensors", {"author": "me", "é": "ü"})
    read = formats.read(tmp_path / "x.safetensors")
    (pt,) = formats.write(read, tmp_path, "a1111_pt")
    (card,) = formats.write(formats.read(pt), tmp_path, "a1111_card")
    assert formats.read(card).metadata == {"author": "me", "é": "ü"}
