"""The library: one name, one file, found again only where a folder changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch

from textual_inversion.embeddings_io import folder_scan, formats
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.saving import save


def put(folder: Path, *files: str) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")
    return folder


@pytest.fixture
def library(tmp_path: Path) -> Library:
    one = put(
        tmp_path / "1", "a.pt", "a.safetensors", "style/c.safetensors", "my cat.pt", "card.png"
    )
    put(tmp_path / "1", "a.png", "style/c.preview.png", "card.preview.png", "note.txt")
    two = put(tmp_path / "2", "a.bin", "b.pt", "deep/style/c.pt", "d.ckpt", "7.pt", ".git/z.pt")
    return Library([one, two, tmp_path / "none"], case_sensitive=True)


def relative(library: Library, name: str) -> str:
    return library.resolve(name).relative_to(library.folders[0].parent).as_posix()


def test_names_keep_their_folders(library: Library) -> None:
    assert library.names() == [
        "7",
        "a",
        "b",
        "card.png",
        "d",
        "deep/style/c",
        "my cat",
        "style/c",
    ]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a", "1/a.safetensors"),
        ("a.pt", "1/a.pt"),
        ("a.bin", "2/a.bin"),
        ("b", "2/b.pt"),
        ("style/c", "1/style/c.safetensors"),
        ("style\\c", "1/style/c.safetensors"),
        ("c", "1/style/c.safetensors"),
        ("c.pt", "2/deep/style/c.pt"),
        ("d.ckpt", "2/d.ckpt"),
        ("my cat", "1/my cat.pt"),
        ("card.png", "1/card.png"),
    ],
)
def test_a_name_is_one_file(library: Library, name: str, file: str) -> None:
    assert relative(library, name) == file


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "card",
        "a.png",
        "note.txt",
        "d",
        "z",
        "../1/a",
        "/etc/passwd",
        "./a",
        "1/a",
        "le/c",
        "none",
    ],
)
def test_only_inventoried_files_are_found(library: Library, name: str) -> None:
    with pytest.raises(EmbeddingError, match="not found"):
        library.resolve(name)


def test_an_absolute_path_is_no_name(library: Library) -> None:
    with pytest.raises(EmbeddingError, match="not found"):
        library.resolve(str(library.folders[0] / "a.pt"))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a", "a.safetensors"),
        ("a.pt", "a.pt"),
        ("b", "b"),
        ("c", "style/c.safetensors"),
        ("c.pt", "deep/style/c"),
        ("d.ckpt", "d.ckpt"),
        ("7", "7.pt"),
        ("my cat", None),
        ("card.png", None),
        ("nope", None),
    ],
)
def test_a_reference_names_exactly_one_file(library: Library, name: str, written: str) -> None:
    assert library.index().reference(name) == written
    if written:
        assert library.resolve(written) == library.resolve(name)


def test_the_same_file_in_two_folders_is_reported(tmp_path: Path) -> None:
    first, second = put(tmp_path / "1", "a.pt", "b.pt"), put(tmp_path / "2", "x/a.pt", "b.pt")
    index = Library([first, second]).index()
    assert index.reference("b") == "b"
    assert index.duplicates("b") == [second / "b.pt"]
    assert index.reference("a") == "a" and index.duplicates("a") == [second / "x" / "a.pt"]
    assert index.reference("x/a") == "x/a" and index.duplicates("x/a") == []


def test_a_folder_listed_twice_or_inside_another_is_no_duplicate(tmp_path: Path) -> None:
    put(tmp_path / "1", "sub/a.pt")
    put(tmp_path / "2", "b.pt")
    folders = [tmp_path / "1", tmp_path / "2", tmp_path / "2", tmp_path / "1" / "sub"]
    library = Library(folders)
    assert library.folders == [folders[0], folders[1], folders[3]]
    index = library.index()
    assert index.duplicates("a") == [] and index.duplicates("b") == []
    assert index.reference("a") == "a" and index.reference("sub/a") == "sub/a"


def test_case_counts_only_where_files_have_it(tmp_path: Path) -> None:
    folder = put(tmp_path / "1", "Cat.pt")
    assert Library([folder], case_sensitive=False).index().reference("cAT") == "Cat"
    with pytest.raises(EmbeddingError, match="Did you mean 'Cat'"):
        Library([folder], case_sensitive=True).resolve("cat")


def test_near_names_are_suggested(tmp_path: Path) -> None:
    library = Library([put(tmp_path, "easynegative.pt", "style/badhand_v4.pt", "my cat.pt")])
    assert library.suggest("easy_negative") == ["easynegative"]
    assert library.suggest("badhand") == ["style/badhand_v4"]
    assert library.suggest("EasyNegative.pt") == ["easynegative"]
    assert library.suggest("zzz") == []
    with pytest.raises(EmbeddingError, match="'my cat' has a space"):
        library.resolve("my")


def test_an_empty_library_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=f"'a' not found in {tmp_path}"):
        Library([tmp_path]).resolve("a")
    with pytest.raises(EmbeddingError, match="not found in any folder"):
        Library([]).resolve("a")


def test_new_changed_and_deleted_files_are_seen_at_once(tmp_path: Path) -> None:
    library = Library([put(tmp_path, "sub/a.pt")])
    assert library.names() == ["sub/a"]
    put(tmp_path, "sub/b.pt")
    assert library.names() == ["sub/a", "sub/b"]
    before = library.file_hash("a")
    (tmp_path / "sub/a.pt").write_bytes(b"y")
    assert library.file_hash("a") != before
    assert library.file_hash("a") == hashlib.sha256(b"y").hexdigest()
    (tmp_path / "sub/b.pt").unlink()
    assert library.names() == ["sub/a"]


def test_only_changed_folders_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.pt", "one/b.pt", "two/c.pt")
    for folder in ("one", "two", "."):
        os.utime(tmp_path / folder, (1_000_000_000, 1_000_000_000))
    library = Library([tmp_path])
    library.names()
    read = []
    scan = os.scandir
    monkeypatch.setattr(
        folder_scan.os, "scandir", lambda path: read.append(Path(path).name) or scan(path)
    )
    library.names()
    assert read == []
    put(tmp_path, "two/d.pt")
    assert "two/d" in library.names() and read == ["two"]


def test_an_unreadable_folder_does_not_hide_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "a.pt", "locked/b.pt")
    scan = os.scandir

    def guarded(path: Path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(folder_scan.os, "scandir", guarded)
    library = Library([tmp_path])
    assert library.names() == ["a"] and library.names() == ["a"]
    assert caplog.text.count("Permission denied") == 1


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_to_a_file_elsewhere_is_left_out_and_said(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "secret.bin")
    folder = put(tmp_path / "1", "a.pt", "sub/b.pt")
    (folder / "out.bin").symlink_to(tmp_path / "elsewhere" / "secret.bin")
    (folder / "sub" / "in.pt").symlink_to(folder / "a.pt")
    (folder / "gone.pt").symlink_to(folder / "nowhere.pt")
    (folder / "device.pt").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.pt")
    library = Library([folder])
    assert library.names() == ["a", "sub/b", "sub/in"]
    with pytest.raises(EmbeddingError, match=r"'out\.bin' is a link to a file outside the embed"):
        library.resolve("out.bin")


def test_a_card_is_loaded_but_never_prompted(tmp_path: Path) -> None:
    card = Embedding("word", {"clip_l": torch.full((2, 768), 0.5)})
    formats.write(card, tmp_path, "a1111_card")
    library = Library([tmp_path])
    (name,) = library.names()
    assert library.read(name).name == "word"
    assert torch.equal(library.read(name).vectors["clip_l"], card.vectors["clip_l"])
    assert "is a picture card, which no prompt" in library.index().missing_message(name)


def test_a_name_found_lately_needs_no_look_at_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library([put(tmp_path, "sub/a.pt")])
    assert library.resolve("a") == tmp_path / "sub" / "a.pt"
    looks = []
    refresh = folder_scan.FolderScan.refresh
    monkeypatch.setattr(
        folder_scan.FolderScan, "refresh", lambda self: looks.append(1) or refresh(self)
    )
    assert library.resolve("a") and looks == []
    put(tmp_path, "later.pt")
    assert library.resolve("later") and looks == [1]
    (tmp_path / "later.pt").unlink()
    with pytest.raises(EmbeddingError, match="'later' not found"):
        library.resolve("later")
    assert looks == [1, 1]
    save(Embedding("a", {"clip_l": torch.ones(1, 768)}), tmp_path)
    assert library.resolve("a") == tmp_path / "a.safetensors"


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "1", "a.pt", "deep/far.pt")
    (tmp_path / "1" / "link").symlink_to(tmp_path / "1" / "deep")
    (tmp_path / "1" / "loop").symlink_to(tmp_path / "1")
    library = Library([tmp_path / "1"])
    assert library.names() == ["a", "deep/far"]
    assert library.resolve("far") == tmp_path / "1" / "deep" / "far.pt"


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_out_of_the_folders_are_left_out_and_said(tmp_path: Path) -> None:
    put(tmp_path / "secret", "s.pt")
    folder = put(tmp_path / "models" / "embeddings", "a.pt", "pack/b.pt", "pack/deep/c.pt")
    (folder / "near.pt").symlink_to(folder / "pack" / "b.pt")
    (folder / "out.pt").symlink_to(tmp_path / "secret" / "s.pt")
    (folder / "other").symlink_to(tmp_path / "secret")
    (folder / "pack" / "out").symlink_to(tmp_path / "secret")
    (folder / "everything").symlink_to("/")
    (folder / "up").symlink_to(folder.parent)
    (folder / "itself").symlink_to(folder)
    (folder / "round.pt").symlink_to(folder / "round.pt")
    library = Library([folder])
    wanted = ["a", "near", "pack/b", "pack/deep/c"]
    outside = "is a link to a folder outside the embeddings folders; add that folder to extra_model"
    for _ in range(2):
        assert library.names() == wanted
        for name, said in {
            "out": r"'out' is a link to a file outside",
            "other/s": f"'other' {outside}",
            "pack/out/s.pt": f"'pack/out' {outside}",
            "everything/etc/passwd": f"'everything' {outside}",
            "up/embeddings/a": f"'up' {outside}",
            "pack/../../secret/s": "not found",
            "secret/s": "not found",
        }.items():
            with pytest.raises(EmbeddingError, match=said):
                library.resolve(name)
        put(folder, "new.pt")
        wanted = sorted([*wanted, "new"])


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_an_embeddings_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    store = put(tmp_path / "store", "a.pt", "sub/b.pt")
    (store / "again.pt").symlink_to(store / "a.pt")
    (tmp_path / "embeddings").symlink_to(store)
    assert Library([tmp_path / "embeddings"]).names() == ["a", "again", "sub/b"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_between_embeddings_folders_are_followed(tmp_path: Path) -> None:
    first, second = put(tmp_path / "1", "sub/a.pt"), put(tmp_path / "2", "b.pt")
    (first / "sub" / "other").symlink_to(second)
    (first / "sub" / "b2.pt").symlink_to(second / "b.pt")
    assert Library([first, second]).names() == ["b", "sub/a", "sub/b2", "sub/other/b"]
    assert Library([first]).names() == ["sub/a"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_file_that_becomes_a_link_out_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "secret", "s.pt")
    folder = put(tmp_path / "1", "a.pt", "sub/b.pt")
    library = Library([folder])
    for place in (folder / "sub", folder):
        os.utime(place, (1_000_000_000, 1_000_000_000))
    assert library.names() == ["a", "sub/b"]
    (folder / "sub" / "b.pt").unlink()
    (folder / "sub" / "b.pt").symlink_to(tmp_path / "secret" / "s.pt")
    assert library.names() == ["a"]
    put(folder, "sub/c.pt")
    os.utime(folder / "sub", (1_000_000_000, 1_000_000_000))
    put(folder, "d.pt")
    assert library.names() == ["a", "d", "sub/c"]
    with pytest.raises(EmbeddingError, match="'sub/b' is a link to a file outside"):
        library.resolve("sub/b")


def test_a_file_is_read_under_a_name_that_prompts_can_hold(tmp_path: Path) -> None:
    saved = save(Embedding("plain", {"clip_l": torch.ones(1, 768)}), tmp_path)
    saved.rename(tmp_path / "my cat (2).safetensors")
    library = Library([tmp_path])
    assert library.read("my cat (2).safetensors").name == "my_cat_2"
