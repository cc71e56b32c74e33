"""Prompts against a library: what is reported, and what happens to missing names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from textual_inversion.embeddings_io import composition, references
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.file_cache import FileCache
from textual_inversion.embeddings_io.folder_scan import FolderScan
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.prompt import (
    ON_MISSING,
    expand_prompt,
    fingerprint,
    keyword_list,
)
from textual_inversion.embeddings_io.saving import save


@pytest.fixture
def library(tmp_path: Path) -> Library:
    save(Embedding("easynegative", {"clip_l": torch.ones(8, 768)}), tmp_path)
    sdxl = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}
    save(Embedding("style/ink", sdxl), tmp_path)
    (tmp_path / "broken.pt").write_bytes(b"no")
    return Library([tmp_path])


def test_the_report_names_file_encoders_vectors_and_weight(library: Library) -> None:
    expansion = expand_prompt("photo,(embedding:ink:1.3),embedding:easynegative", library)
    assert expansion.text == "photo,(embedding:style/ink:1.3), embedding:easynegative"
    assert expansion.report.splitlines() == [
        "embedding:style/ink = style/ink.safetensors, 2 vectors: clip_l [2, 768], "
        "clip_g [2, 1280], weight 1.3",
        "embedding:easynegative = easynegative.safetensors, 8 vectors: clip_l [8, 768]",
    ]
    assert expansion.warnings == ()


def test_a_text_without_references_is_said_to_have_none(library: Library) -> None:
    expansion = expand_prompt("a cat", library)
    assert expansion.text == "a cat" and expansion.report == "No embeddings in this text."


def test_a_missing_name_is_an_error_with_near_names(library: Library) -> None:
    with pytest.raises(EmbeddingError) as raised:
        expand_prompt("photo, embedding:easy_negative, embedding:inc", library)
    said = str(raised.value)
    assert "Embedding 'easy_negative' not found. Did you mean 'easynegative'?" in said
    assert "Embedding 'inc' not found. Did you mean 'style/ink'?" in said


@pytest.mark.parametrize("text", ["embedding:", "a (embedding:) b", "embedding: , a"])
def test_a_reference_without_a_name_is_an_error(library: Library, text: str) -> None:
    with pytest.raises(EmbeddingError, match="without a name"):
        expand_prompt(text, library)


@pytest.mark.parametrize(
    ("missing", "text"), [("warning", "photo, embedding:nope, cat"), ("drop", "photo, cat")]
)
def test_missing_names_can_be_passed_over(library: Library, missing: str, text: str) -> None:
    expansion = expand_prompt("photo, embedding:nope, cat", library, missing=missing)
    assert expansion.text == text
    assert expansion.report.startswith("Warning: Embedding 'nope' not found in ")


def test_a_file_that_is_no_embedding_counts_as_missing(library: Library) -> None:
    with pytest.raises(EmbeddingError, match=r"broken\.pt is no torch file"):
        expand_prompt("embedding:broken", library)
    dropped = expand_prompt("cat, embedding:broken", library, missing="drop")
    assert dropped.text == "cat" and "broken.pt" in dropped.report


def test_a_prompt_is_read_once_with_one_look_at_the_folders(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: dict[str, int] = {}

    def count(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def counting(*arguments: object) -> object:
            counted[name] = counted.get(name, 0) + 1
            return real(*arguments)

        monkeypatch.setattr(owner, name, counting)

    count(FolderScan, "refresh")
    count(composition, "find")
    count(references, "segments")
    count(FileCache, "of")
    text = "embedding:ink, (embedding:ink:1.2), embedding:easynegative, embedding:ink"
    assert len(expand_prompt(text, library).resolved) == 3
    assert counted == {"refresh": 1, "find": 1, "segments": 2, "of": 2}


def test_an_unknown_policy_is_refused(library: Library) -> None:
    with pytest.raises(EmbeddingError, match="error, warning, drop"):
        expand_prompt("a", library, missing="ignore")
    assert ON_MISSING == ("error", "warning", "drop")


def test_keywords_of_a_list_and_of_the_library(library: Library) -> None:
    text = "ink drawing, easynegative"
    listed = expand_prompt(text, library, keywords=["ink"])
    assert listed.text == "embedding:style/ink drawing, easynegative"
    switched_on = expand_prompt(text, library, library_keywords=True)
    assert switched_on.text == "embedding:style/ink drawing, embedding:easynegative"
    assert switched_on.report.count("embedding:") == 2
    assert expand_prompt(switched_on.text, library, library_keywords=True).text == switched_on.text


def test_a_listed_keyword_without_a_file_is_missing(library: Library) -> None:
    with pytest.raises(EmbeddingError, match="'inky' not found"):
        expand_prompt("an inky cat", library, keywords=["inky"])
    assert expand_prompt("a cat", library, keywords=["inky"]).text == "a cat"
    kept = expand_prompt("an inky cat", library, keywords=["inky"], missing="drop")
    assert kept.text == "an inky cat" and "Warning" in kept.report


def test_two_files_of_one_name_are_pointed_out(tmp_path: Path) -> None:
    for folder in ("1", "2"):
        save(Embedding("a", {"clip_l": torch.ones(1, 768)}), tmp_path / folder)
    report = expand_prompt("embedding:a", Library([tmp_path / "1", tmp_path / "2"])).report
    assert f"Warning: 'a' is also {tmp_path / '2' / 'a.safetensors'}" in report


def test_an_empty_library_expands_nothing(tmp_path: Path) -> None:
    assert expand_prompt("any word", Library([tmp_path]), library_keywords=True).text == "any word"


def test_the_fingerprint_follows_the_files_that_are_meant(library: Library) -> None:
    def prints() -> list[str]:
        return [
            fingerprint("embedding:ink", library),
            fingerprint("embedding:easynegative", library),
            fingerprint("ink", library, ["ink"]),
            fingerprint("ink", library, library_keywords=True),
            fingerprint("embedding:new", library),
            fingerprint(None, library),
        ]

    before = prints()
    assert prints() == before
    vectors = {"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}
    folder = library.folders[0]
    save(Embedding("style/ink", vectors), folder, overwrite=True)
    changed = [one != other for one, other in zip(before, prints(), strict=True)]
    assert changed == [True, False, True, True, False, True]
    save(Embedding("new", vectors), folder)
    assert prints()[4] != before[4]


def test_keyword_lists_are_written_as_people_do() -> None:
    assert keyword_list("a, b\n c,,\n embedding:d \n") == ["a", "b", "c", "d"]
    assert keyword_list("") == []
