"""The README says what the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from textual_inversion.devtools.settings_table import table, written_in
from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.formats import refusals
from textual_inversion.tests.unit import embedding_files
from textual_inversion.training.recipe import Recipe, knobs

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = ("nodes", "training", "host", "embeddings_io")


def told_by_the_code() -> list[str]:
    """Every long piece of text between the values in the pack's strings."""
    pieces = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    pieces += [piece.strip() for piece in re.split(r"\{\w+\}", node.value)]
    return [piece for piece in pieces if len(piece) >= 15]


def messages() -> list[str]:
    section = README.partition("## Troubleshooting")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize("message", messages())
def test_the_messages_are_the_codes_own(message: str) -> None:
    told_in_part = [part.strip() for part in message.split("...") if len(part) >= 15]
    pieces = [piece for piece in told_by_the_code() if piece in message]
    pieces += [part for part in told_in_part if any(part in piece for piece in told_by_the_code())]
    assert pieces, f"no error of the pack reads: {message}"
    told = sum(map(len, pieces))
    assert told >= 0.3 * len(message)


def test_there_are_messages_to_check() -> None:
    assert len(messages()) >= 6


def test_pictures_and_pages_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).is_file(), target


def test_every_node_is_listed() -> None:
    for page in (ROOT / "web" / "docs").glob("TI_*.md"):
        assert f"(web/docs/{page.name})" in README


def test_the_table_of_formats_is_the_codes() -> None:
    section = README.partition("### Every format")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \| (.*) \|$", section, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(formats.FORMATS)
    for name, read, write in rows:
        writable = name in formats.WRITERS or name == "lora_bundle"
        assert read == "yes" and write.startswith("yes" if writable else "no")
    tested = {format_name for format_name, _, _ in embedding_files.READABLE.values()}
    assert tested == set(formats.FORMATS)


def test_the_refusals_are_the_codes() -> None:
    section = README.partition("Refused, with a sentence")[2].partition("\n\n")[0]
    named = " ".join(section.partition(":")[2].partition(".")[0].split()).split(", ")
    assert named == [*refusals.KINDS, "aesthetic gradient"]
    assert set(embedding_files.REFUSED) == set(refusals.KINDS)


def test_every_setting_is_told_as_the_recipe_has_it() -> None:
    assert written_in(README) == table(knobs(), Recipe().as_dict())
