"""Whole folders converted, in the library and at the command line as people run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from textual_inversion.embeddings_io import console, formats
from textual_inversion.embeddings_io.command_line import main
from textual_inversion.embeddings_io.conversion import convert
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError

ROOT = Path(__file__).resolve().parents[2]


def embedding(name: str, seed: int = 0) -> Embedding:
    rows = torch.randn(2, 768, generator=torch.Generator().manual_seed(seed))
    return Embedding(name, {"clip_l": rows})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """old.pt, sub/card.png, new.safetensors, a LoRA that brings one along, and a broken file."""
    formats.write(embedding("old", 1), tmp_path, "a1111_pt")
    formats.write(embedding("sub/card", 2), tmp_path, "a1111_card")
    formats.write(embedding("new", 3), tmp_path)
    save_file(
        {
            "lora_unet_x.lora_up.weight": torch.ones(2, 2),
            "bundle_emb.word.clip_l": torch.ones(1, 768),
        },
        tmp_path / "lora.safetensors",
    )
    (tmp_path / "broken.pt").write_bytes(b"junk")
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals")
@pytest.mark.parametrize("command", [["convert", "--dry-run"], ["list", "--quiet"]])
def test_a_terminal_shows_a_progress_bar(folder: Path, command: list[str]) -> None:
    import pty

    ours, theirs = pty.openpty()
    run = subprocess.run(
        [sys.executable, str(ROOT / "embeddings_io"), *command, str(folder)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=300,
        check=False,
    )
    os.close(theirs)
    try:
        drawn = os.read(ours, 65536).decode()
    except OSError:  # the end, where nothing was written
        drawn = ""
    os.close(ours)
    assert run.stdout.count(b"\n") > 4 and b"####" not in run.stdout
    if "--quiet" in command:
        assert drawn == ""
    else:
        assert re.search(r"\[#+\] 5/5  \d+ files/s  0 s left", drawn)
        assert drawn.endswith("\r\x1b[K"), "the bar stays on the screen"


def test_the_bar_says_how_far_and_how_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = (tick / 4 for tick in range(100))
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    assert list(console.with_progress("abcd", 4, shown=True)) == list("abcd")
    written = capsys.readouterr()
    assert written.out == "" and written.err.endswith("\r\x1b[K")
    bars = re.findall(r"\[(#+)(\.*)\] (.*?)\x1b", written.err)
    assert [said for _, _, said in bars] == [
        "1/4  4 files/s  1 s left",
        "2/4  4 files/s  0 s left",
        "3/4  4 files/s  0 s left",
        "4/4  4 files/s  0 s left",
    ]
    whole = len(bars[0][0] + bars[0][1])
    assert [len(done) for done, _, _ in bars] == [whole * n // 4 for n in (1, 2, 3, 4)]
    list(console.with_progress("abcd", 4, shown=False))
    assert capsys.readouterr().err == ""


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_folder_of_every_kind_becomes_safetensors(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    into, before = tmp_path_factory.mktemp("into"), contents(folder)
    assert main(["convert", str(folder), "--into", str(into)]) == 1
    names = ["new", "old", "sub/card", "word"]
    assert sorted(contents(into)) == [f"{name}.safetensors" for name in names]
    for seed, name in enumerate(["old", "sub/card", "new"], 1):
        back = formats.read(into / f"{name}.safetensors")
        assert torch.equal(back.vectors["clip_l"], embedding(name, seed).vectors["clip_l"])
    assert contents(folder) == before
    shown = capsys.readouterr().out
    assert "broken.pt: broken.pt " in shown
    assert shown.splitlines()[-1].split() == ["all", "4", "1"]


def test_a_dry_run_writes_nothing_and_says_what_would_be(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)
    assert main(["convert", str(folder), "--dry-run"]) == 1
    assert contents(folder) == before
    shown = capsys.readouterr().out
    old, new = folder / "old.pt", folder / "old.safetensors"
    assert f"{old} -> {new} (would be written)" in shown
    assert shown.splitlines()[-1].split() == ["all", "3", "1", "1"]


def test_a_second_run_finds_everything_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.pt").unlink()
    assert main(["convert", str(folder), "--quiet"]) == 0
    before = contents(folder)
    assert main(["convert", str(folder), "--quiet"]) == 0
    assert contents(folder) == before
    assert "would be written" not in capsys.readouterr().out


def test_nothing_is_replaced_unasked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "old.safetensors").write_bytes(b"mine")
    one = str(folder / "old.pt")
    assert main(["convert", one]) == 1
    assert (folder / "old.safetensors").read_bytes() == b"mine"
    assert "give --overwrite" in capsys.readouterr().out
    assert main(["convert", one, "--overwrite"]) == 0
    assert formats.read(folder / "old.safetensors").num_vectors == 2


def test_two_files_of_one_name_do_not_swallow_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, seed in (("a", 1), ("b", 2)):
        formats.write(embedding("same", seed), tmp_path / place, "a1111_pt")
    into = tmp_path / "into"
    arguments = [str(tmp_path / "a"), str(tmp_path / "b"), "--into", str(into), "--overwrite"]
    assert main(["convert", *arguments]) == 1
    assert "would have the name of" in capsys.readouterr().out
    first = formats.read(into / "same.safetensors")
    assert torch.equal(first.vectors["clip_l"], embedding("same", 1).vectors["clip_l"])


def test_nothing_is_written_where_one_does_not_fit(tmp_path: Path) -> None:
    wide = Embedding("wide", {"qwen3_4b": torch.ones(1, 2560)})
    with pytest.raises(EmbeddingError, match="cannot be written as a1111_pt"):
        convert([embedding("fine"), wide], tmp_path, "a1111_pt")
    assert contents(tmp_path) == {}


def test_list_says_what_files_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "old" in shown and "Stable Diffusion 1.x" in shown and "broken.pt" in shown
    assert main(["list", str(folder), "--json"]) == 1
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["sub/card"]["encoders"] == {"clip_l": [2, 768]}
    assert entries["broken"]["problem"]


def test_edit_and_bundle(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "new.safetensors"
    arguments = ["--set", "author=Ada", "--set", "tags=a, b=c", "--remove", "title"]
    assert main(["edit", str(path), *arguments]) == 0
    said = formats.read(path).metadata
    assert said["modelspec.author"] == "Ada" and said["modelspec.tags"] == "a, b=c"
    assert main(["edit", str(path), "--set", "author"]) == 1
    assert "not of the form word=text" in capsys.readouterr().err
    lora, bundled = folder / "lora.safetensors", folder / "two.safetensors"
    assert main(["bundle", str(lora), str(path), "--into", str(bundled)]) == 0
    assert sorted(formats.lora_bundle.names(bundled)) == ["new", "word"]
    assert main(["list", str(folder / "nowhere")]) == 1


@pytest.mark.parametrize("way", ["by path", "by name"])
def test_it_runs_inside_an_installed_pack(folder: Path, way: str, tmp_path: Path) -> None:
    """The pack's folder has a hyphen, and its nodes/ must not get in ComfyUI's way."""
    pack = tmp_path / "custom_nodes" / "textual-inversion"
    shutil.copytree(ROOT / "embeddings_io", pack / "embeddings_io")
    by_path = way == "by path"
    command = [sys.executable, *([pack / "embeddings_io"] if by_path else ["-m", "embeddings_io"])]
    result = subprocess.run(
        [*command, "convert", folder / "old.pt"],
        cwd=folder if by_path else pack,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].split() == ["all", "1"]
    assert (folder / "old.safetensors").is_file() and result.stderr == ""
