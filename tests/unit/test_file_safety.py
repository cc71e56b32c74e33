"""Nothing in a file is executed, believed or allocated without a look at it first."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from textual_inversion.embeddings_io import safetensors_bytes
from textual_inversion.embeddings_io.embedding import EmbeddingError
from textual_inversion.embeddings_io.formats import read, torch_zip

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


class Attack:
    """What an attacker puts into a torch file: a call that is made when it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_in_a_torch_file_is_run(tmp_path: Path, protocol: int) -> None:
    for number, attack in enumerate(
        [
            Attack(os.mkdir, str(tmp_path / "attacked")),
            Attack(eval, "1"),
            Attack(getattr, os, "mkdir") if protocol > 3 else Attack(exec, "1"),
            Attack(io.open, str(tmp_path / "attacked"), "w"),
        ]
    ):
        path = tmp_path / f"{number}.pt"
        try:
            torch.save(a1111(ROWS, step=attack), path, pickle_protocol=protocol)
        except TypeError:
            continue
        assert_refused(path, "to be run")
    assert not (tmp_path / "attacked").exists()


def test_an_attack_works_on_a_careless_reader(tmp_path: Path) -> None:
    """The control: the file above does run its call where it is executed."""
    torch.save(Attack(os.mkdir, str(tmp_path / "attacked")), tmp_path / "x.pt")
    torch.load(tmp_path / "x.pt", weights_only=False)
    assert (tmp_path / "attacked").is_dir()


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


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_an_embedding_error(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.pt"
    torch.save(a1111(ROWS[:1]), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    program = bytearray(parts[name])
    for _ in range(data.draw(st.integers(1, 4))):
        program[data.draw(st.integers(0, len(program) - 1))] = data.draw(st.integers(0, 255))
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in {**parts, name: bytes(program)}.items():
            archive.writestr(part, content)
    try:
        read(path)
    except EmbeddingError as error:
        assert "\n" not in str(error) and str(error).startswith("x")


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(EmbeddingError) as raised:
        read(path)
    said = str(raised.value)
    assert message in said and "\n" not in said and said.endswith(".")
    assert said.startswith((path.name, "Embedding 'x'"))
