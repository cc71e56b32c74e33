"""Nothing in a file is executed, believed or allocated without a look at it first."""

from __future__ import annotations

import os
import socket
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from textual_inversion.embeddings_io import safetensors_bytes
from textual_inversion.embeddings_io.embedding import EmbeddingError
from textual_inversion.embeddings_io.formats import read, torch_zip
from textual_inversion.embeddings_io.library import Library

ROWS = torch.randn(3, 768, generator=torch.Generator().manual_seed(1))


def a1111(rows: torch.Tensor, **more: object) -> dict:
    return {"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, "name": "x", **more}


@pytest.mark.parametrize(("width", "key"), [(768, "clip_l"), (1024, "clip_h"), (1280, "clip_g")])
def test_the_width_decides_the_encoder(tmp_path: Path, width: int, key: str) -> None:
    save_file({"emb_params": torch.ones(2, width)}, tmp_path / "x.safetensors")
    assert list(read(tmp_path / "x.safetensors").vectors) == [key]


REFUSED = {
    "LoRA, not an": {"te.alpha": torch.ones(1)},
    "640 wide": {"emb_params": torch.ones(2, 640)},
    "no known kind": {"a": ROWS, "b": ROWS + 1},
    "no known kind of": {"a": torch.ones(1, 2, 768)},
    "int64": {"emb_params": torch.ones(2, 768, dtype=torch.int64)},
    "NaN": {"emb_params": torch.full((2, 768), float("nan"))},
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_other_tensors_are_refused(tmp_path: Path, what: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    if suffix == ".pt":
        torch.save(REFUSED[what], path)
    else:
        save_file(REFUSED[what], path)
    assert_refused(path, what)


BROKEN = {
    "empty": b"",
    "few bytes": b"abc",
    "length beyond the file": (10**6).to_bytes(8, "little") + b"{}",
    "enormous length": (2**62).to_bytes(8, "little") + b"{}",
    "no JSON": (4).to_bytes(8, "little") + b"{{{{",
    "no UTF-8": (32).to_bytes(8, "little") + '{"emb_params":1}'.encode("utf-16-le"),
    "a list": (2).to_bytes(8, "little") + b"[]",
    "nested deeply": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "no tensors": (2).to_bytes(8, "little") + b"{}",
    "tensor beyond the file": (64).to_bytes(8, "little")
    + b'{"a":{"dtype":"F32","shape":[9,768],"data_offsets":[0,27648]}}'.ljust(64),
    "wrong tensor table": (16).to_bytes(8, "little") + b'{"emb_params":1}',
    "metadata is no table": (19).to_bytes(8, "little") + b'{"__metadata__":[]}',
    "zip of nothing": b"PK\x05\x06" + bytes(18),
    "cut zip": b"PK\x03\x04" + bytes(40),
    "old torch file": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_broken_files_are_refused(tmp_path: Path, what: str, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(BROKEN[what])
    assert_refused(path, "")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "x.pt", "cannot be read")


def test_harmless_values_are_passed_over(tmp_path: Path) -> None:
    import numpy

    more = {"a": {1, 2}, "b": numpy.float32(1.5), "c": b"x", "d": -(2**40), "e": 1.5, "f": [None]}
    torch.save(a1111(ROWS, **more), tmp_path / "x.pt")
    assert torch.equal(read(tmp_path / "x.pt").vectors["clip_l"], ROWS)


def test_a_large_file_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"emb_params": ROWS}, path)
    with path.open("r+b") as file:
        file.truncate(safetensors_bytes.MAX_FILE + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("was read"))
    assert_refused(path, "at most 256")


def test_a_large_checkpoint_is_named_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"model.diffusion_model.x": ROWS}, path)
    with path.open("r+b") as file:
        file.truncate(8 * 2**30)
    assert_refused(path, "checkpoint")


def test_a_claimed_giant_is_not_allocated(tmp_path: Path) -> None:
    torch.save({"emb_params": torch.ones(1).expand(2**20, 768)}, tmp_path / "x.pt")
    assert_refused(tmp_path / "x.pt", "too large")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(torch_zip.MAX_PROGRAM + 1))
    assert path.stat().st_size < 10**5
    assert_refused(path, "too large")


def test_a_value_that_holds_itself_many_times_is_not_unfolded(tmp_path: Path) -> None:
    value: object = 1
    for _ in range(7):
        value = [value] * 1000
    torch.save(a1111(ROWS, step=value), tmp_path / "x.pt")
    assert_refused(tmp_path / "x.pt", "too many values")


def test_a_tensor_outside_its_storage_is_refused(tmp_path: Path) -> None:
    torch.save(a1111(ROWS), tmp_path / "x.pt")
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data[:-4] if "/data/" in name else data)
    assert_refused(tmp_path / "y.pt", "cut short")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "zeros.pt").symlink_to("/dev/zero")
    (tmp_path / "nowhere.pt").symlink_to(tmp_path / "gone")
    (tmp_path / "round.pt").symlink_to(tmp_path / "round.pt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket.pt"))
        for name, said in {
            "folder": "is a folder, not a file",
            "pipe": "is a device, not a file",
            "zeros": "is a device, not a file",
            "socket": "is a device, not a file",
            "nowhere": "cannot be read: No such file",
            "round": "cannot be read",
        }.items():
            assert_refused(tmp_path / f"{name}.pt", said)


NAMES = (
    "../secret",
    "..",
    "/etc/passwd",
    "a/../../secret",
    "C:\\\\secret",
    "sub",
    "\0",
    "",
    ".",
    "~",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_only_ever_means_a_file_of_the_library(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "embeddings"
    (folder / "sub").mkdir(parents=True)
    save_file({"emb_params": ROWS}, tmp_path / "secret.safetensors")
    save_file({"emb_params": ROWS}, folder / "sub" / "cat.safetensors")
    known = Library([folder])
    for written in (name, f"{name}.safetensors", f"sub/{name}", str(tmp_path / "secret")):
        with pytest.raises(EmbeddingError, match="not found"):
            known.resolve(written)
    assert known.resolve("sub/cat") == folder / "sub" / "cat.safetensors"


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(EmbeddingError) as raised:
        read(path)
    said = str(raised.value)
    assert message in said and "\n" not in said and said.endswith(".")
    assert said.startswith((path.name, "Embedding 'x'"))
