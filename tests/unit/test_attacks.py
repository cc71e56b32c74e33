"""No file runs anything, and no small file takes much memory or time."""

from __future__ import annotations

import base64
import pickle
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.embedding import EmbeddingError
from textual_inversion.tests.unit import attacks, embedding_files
from textual_inversion.tests.unit.attacks import called, in_legacy, in_zip, text

TRICKS = tuple(attacks.programs(Path("canary")))


@pytest.mark.parametrize("trick", TRICKS)
def test_the_trick_works_on_a_careless_reader(tmp_path: Path, trick: str) -> None:
    """The control: what is tried below does make its folder where it is executed."""
    program = attacks.programs(tmp_path / "canary")[trick]
    try:
        pickle.loads(program)
    except Exception as error:
        assert (tmp_path / "canary").is_dir(), error
    assert (tmp_path / "canary").is_dir()


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("layout", attacks.LAYOUTS)
def test_nothing_is_run(tmp_path: Path, trick: str, layout: str) -> None:
    path = attacks.LAYOUTS[layout](attacks.programs(tmp_path / "canary")[trick], tmp_path / "x.pt")
    for reader in (formats.read, formats.read_many, formats.describe):
        with pytest.raises(EmbeddingError):
            reader(path)
    assert not (tmp_path / "canary").exists()


def test_an_attack_beside_good_vectors_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple:
            return (Path.mkdir, (tmp_path / "canary",))

    torch.save(embedding_files.a1111(embedding_files.L, more=Attack()), tmp_path / "x.pt")
    with pytest.raises(EmbeddingError, match="to be run, which no embedding needs"):
        formats.read(tmp_path / "x.pt")
    assert not (tmp_path / "canary").exists()


def test_archives_are_never_unpacked_to_the_disk(tmp_path: Path) -> None:
    path = embedding_files.pt(tmp_path, {"emb_params": embedding_files.L})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped", b"x")
        archive.writestr("/escaped", b"x")
    before = sorted(tmp_path.parent.rglob("*"))
    assert torch.equal(formats.read(path).vectors["clip_l"], embedding_files.L)
    assert sorted(tmp_path.parent.rglob("*")) == before


def many(count: int, piece: bytes) -> bytes:
    return b"\x80\x04" + piece * count + b"."


def nested_tuples(depth: int) -> bytes:
    return b")" + b"2\x86" * depth


def storage(key: str = "0") -> bytes:
    kind = b"ctorch\nFloatStorage\n"
    return b"(" + text("storage") + kind + text(key) + text("cpu") + b"K\x01tQ"


def tensor(shape: bytes, strides: bytes, key: str = "0") -> bytes:
    return called("torch._utils", "_rebuild_tensor_v2", storage(key), b"K\x00", shape, strides)


def ints(*numbers: int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", number) for number in numbers) + b"t"


def one_entry(value: bytes) -> bytes:
    return b"\x80\x02}" + text("emb_params") + value + b"s."


def picture_of(packed: bytes, path: Path) -> Path:
    height = 64
    data = np.frombuffer(packed, np.uint8)
    size = (len(data) // (3 * height) + 1) * 3 * height
    data = np.resize(data, size).reshape(height, -1, 3)
    mask = (embedding_files.generator_numbers(size) & 15).astype(np.uint8).reshape(data.shape)
    black = np.zeros((height, 1, 3), np.uint8)
    blocks = [0xA0 | (data & 15 ^ mask), black, black, 0xA0 | (data >> 4 ^ mask)]
    Image.fromarray(np.concatenate(blocks, axis=1)).save(path, format="PNG")
    return path


def deflated(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
    return path


def big_picture(path: Path) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    content = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def white_picture(path: Path) -> Path:
    Image.new("L", (5700, 5700), 255).save(path, format="PNG", optimize=True)
    return path


def legacy_claim(path: Path) -> Path:
    program = one_entry(tensor(ints(1, 768), ints(768, 1)))
    in_legacy(program, path)
    data = path.read_bytes().removesuffix(b"\x80\x02].")
    path.write_bytes(data + b"\x80\x02](" + text("0") + b"e." + struct.pack("<q", 2**40))
    return path


def many_parts(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", one_entry(b"N"))
        for number in range(21_000):
            archive.writestr(f"archive/{number:0150}", b"")
    return path


def raw(content: bytes):
    def make(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return make


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


CLAIM = b'{"emb_params":{"dtype":"F32","shape":[%d,768],"data_offsets":[0,%d]}}'
COPIES = (
    b"ccollections\nOrderedDict\n\x94("
    + b"}("
    + b"".join(b"J" + struct.pack("<i", number) + b"N" for number in range(20_000))
    + b"ut\x940"
    + b"h\x00h\x01R" * 40_000
)

BOMBS = {
    "repeated by strides": lambda p: in_zip(
        one_entry(tensor(ints(2**20, 768), ints(0, 0))), p, **{"0": bytes(4)}
    ),
    "repeated rows": lambda p: in_zip(
        one_entry(tensor(ints(80_000, 768), ints(0, 1))), p, **{"0": bytes(4 * 768)}
    ),
    "compressed program": lambda p: deflated(p, {"data.pkl": many(2**23, b"]")}),
    "compressed program, small": lambda p: deflated(p, {"data.pkl": many(4_000_000, b"]")}),
    "compressed storage": lambda p: deflated(
        p,
        {"data.pkl": one_entry(tensor(ints(1, 768), ints(768, 1))), "data/0": bytes(2**26)},
    ),
    "a storage read often": lambda p: deflated(
        p,
        {
            "data.pkl": b"\x80\x02](" + tensor(ints(1, 8), ints(8, 1)) * 5000 + b"e.",
            "data/0": bytes(2**25),
        },
    ),
    "many lists": lambda p: in_zip(many(2**21, b"]"), p),
    "many sets": lambda p: in_zip(many(2**21, b"\x8f"), p),
    "copied tables": lambda p: in_zip(b"\x80\x04" + COPIES + b".", p),
    "doubled names": lambda p: in_zip(
        b"\x80\x04" + text("x" * 2**20) + b"\x94" + b"h\x00h\x00\x93" * 20_000 + b".", p
    ),
    "nested tuples as a key": lambda p: in_zip(b"\x80\x04}" + nested_tuples(60) + b"Ns.", p),
    "nested tuples as a type": lambda p: in_zip(
        b"\x80\x04(" + text("storage") + nested_tuples(60) + text("0") + b"tQ.", p
    ),
    "nested tuples as a storage's name": lambda p: in_zip(
        b"\x80\x04(" + text("storage") + b"ctorch\nFloatStorage\n" + nested_tuples(60) + b"tQ.", p
    ),
    "nested tuples as a name": lambda p: in_zip(
        b"\x80\x04" + nested_tuples(60) + text("x") + b"\x93.", p
    ),
    "nested tuples as a shape": lambda p: in_zip(
        one_entry(tensor(nested_tuples(60), ints(1, 1))), p
    ),
    "nested tuples as a value": lambda p: in_zip(b"\x80\x04}K\x01" + nested_tuples(60) + b"s.", p),
    "a number of 4 MB": lambda p: in_zip(
        b"\x80\x04}\x8b" + struct.pack("<i", 2**22 - 64) + b"\x7f" * (2**22 - 64) + b"Ns.", p
    ),
    "an old file's claim": legacy_claim,
    "many parts": many_parts,
    "header that is a claim": raw((2**24 - 1).to_bytes(8, "little") + b"{}"),
    "tensor that is a claim": raw(header(CLAIM % (2**28, 2**28 * 3072))),
    "tensor of no bytes": raw(header(CLAIM % (0, 0))),
    "sizes beyond counting": raw(header(CLAIM % (2**62, 0))),
    "nested header": raw(header(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)),
    "picture of 60,000 x 60,000": big_picture,
    "white picture of 5,700 x 5,700": white_picture,
    "card that unpacks to 64 MB": lambda p: picture_of(zlib.compress(bytes(2**26), 9), p),
    "card of empty tables": lambda p: picture_of(
        zlib.compress(b"[" + b"{}," * 2_000_000 + b"{}]", 9), p
    ),
    "card of nested lists": lambda p: picture_of(
        zlib.compress(b'{"string_to_param":{"*":{"TORCHTENSOR":' + b"[" * 100_000, 9), p
    ),
    "card of ragged lists": lambda p: picture_of(
        zlib.compress(b'{"string_to_param":{"*":{"TORCHTENSOR":[[1],[1,2]]}}}', 9), p
    ),
    "card of a huge number": lambda p: picture_of(
        zlib.compress(b'{"string_to_param":{"*":{"TORCHTENSOR":[[1e999,' + b"9" * 5000 + b"]]}}}"),
        p,
    ),
}
MEMORY = 384 * 2**20
SECONDS = 8.0


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bombs")
    return {
        what: make(folder / f"{number}.pt") for number, (what, make) in enumerate(BOMBS.items())
    }


@pytest.mark.parametrize("what", BOMBS)
def test_a_small_file_takes_little_time(bombs: dict[str, Path], what: str) -> None:
    path = bombs[what]
    assert path.stat().st_size < 8 * 2**20
    for reader in (formats.read, formats.describe):
        started = time.process_time()
        if reader is formats.read or what not in UNCLAIMED:
            with pytest.raises(EmbeddingError) as raised:
                reader(path)
            assert "\n" not in str(raised.value) and len(str(raised.value)) < 500
        assert time.process_time() - started < SECONDS


UNCLAIMED = {"an old file's claim", "compressed storage"}
"""A description looks at shapes alone, and finds nothing wrong with these."""

MEASURE = """
import resource, sys, types
from pathlib import Path
pack = types.ModuleType("textual_inversion")
pack.__path__ = [sys.argv[1]]
sys.modules["textual_inversion"] = pack
from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.embedding import EmbeddingError
# change
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
ballast = []
while peak() == before:  # what the imports took and gave back must not hide anything
    ballast.append(bytearray(b"x") * 2**20)
before = peak()
for path in map(Path, sys.argv[2:]):
    for reader in (formats.read, formats.describe):
        try:
            reader(path)
        except EmbeddingError:
            pass
    print(path.name, (peak() - before) * 1024)
"""


def memory_of(root: Path, paths: list[Path], change: str = "") -> list[int]:
    """How many bytes a fresh process has grown by after each file."""
    program = MEASURE.replace("# change", change)
    result = subprocess.run(
        [sys.executable, "-c", program, str(root), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return [int(line.split()[1]) for line in result.stdout.splitlines()]


def test_small_files_take_little_memory(bombs: dict[str, Path], root: Path) -> None:
    grown = dict(zip(bombs, memory_of(root, list(bombs.values())), strict=True))
    assert max(grown.values()) < MEMORY, grown


def test_the_memory_of_a_careless_reader_is_seen(bombs: dict[str, Path], root: Path) -> None:
    """The control."""
    careless = "formats.read = lambda path: bytearray(b'x') * (2 * 384 * 2**20)"
    (grown,) = memory_of(root, [bombs["nested header"]], careless)
    assert grown > MEMORY


WHOLE = tuple(embedding_files.READABLE)
EIGHT = torch.arange(8.0).reshape(1, 8)


def tiny_card(folder: Path) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text(
        "sd-ti-embedding", base64.b64encode(b'{"clip_l":{"TORCHTENSOR":[[1.0]]}}').decode()
    )
    Image.new("L", (1, 1)).save(folder / "cat.png", pnginfo=info)
    return folder / "cat.png"


TINY = {
    "safetensors": lambda f: embedding_files.st(f, {"clip_l": EIGHT}, metadata={"a": "b"}),
    "torch": lambda f: embedding_files.pt(f, {"clip_l": EIGHT, "step": 5}),
    "torch before 1.6": lambda f: embedding_files.pt(
        f, {"clip_l": EIGHT}, _use_new_zipfile_serialization=False
    ),
    "card": tiny_card,
    "bundle": lambda f: embedding_files.st(f, {"bundle_emb.cat.clip_l": EIGHT}),
}


@pytest.mark.parametrize("what", TINY)
def test_a_small_file_cut_at_any_byte_is_refused(tmp_path: Path, what: str) -> None:
    path = TINY[what](tmp_path)
    whole = path.read_bytes()
    assert len(whole) < 4000 and formats.read(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused_or_whole(path)


@pytest.mark.parametrize("what", WHOLE)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, what: str) -> None:
    _, make, _ = embedding_files.READABLE[what]
    path = make(tmp_path)
    whole = path.read_bytes()
    inside = range(100, len(whole) - 100, max(1, len(whole) // 50))
    for length in {*range(0, 100, 7), *inside, *range(len(whole) - 100, len(whole), 7)}:
        path.write_bytes(whole[:length])
        refused_or_whole(path)


def refused_or_whole(path: Path) -> None:
    """Only a picture may be cut and still be read: its text comes before its pixels."""
    try:
        formats.read(path)
    except EmbeddingError as error:
        assert "\n" not in str(error)
    else:
        assert path.suffix in formats.CARD_SUFFIXES


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_is_an_embedding_error(tmp_path: Path, data: st.DataObject) -> None:
    _, make, _ = embedding_files.READABLE[data.draw(st.sampled_from(WHOLE))]
    path = make(tmp_path)
    parts = unpacked(path)
    name = data.draw(st.sampled_from(sorted(parts)))
    content = bytearray(parts[name])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, max(0, min(len(content) - 1, 2000))))
        content[at : at + 1] = data.draw(st.binary(max_size=3))
    repacked(path, {**parts, name: bytes(content)})
    for reader in (formats.read, formats.read_many, formats.describe):
        try:
            reader(path)
        except EmbeddingError as error:
            assert "\n" not in str(error) and str(error).startswith((path.stem, "Embedding "))


def unpacked(path: Path) -> dict[str, bytes]:
    """The parts of a zip archive, or the whole file under one name."""
    if not zipfile.is_zipfile(path):
        return {"": path.read_bytes()}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(path: Path, parts: dict[str, bytes]) -> None:
    if list(parts) == [""]:
        path.write_bytes(parts[""])
        return
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
