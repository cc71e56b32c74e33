"""What the page's scripts may do, as it can be read in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).resolve().parents[2] / "web").glob("*.js"))


def named(script: Path) -> str:
    return script.name


def test_there_are_scripts() -> None:
    assert [script.name for script in SCRIPTS] == ["embedding_carrier.js", "node_texts.js"]


@pytest.mark.parametrize("script", SCRIPTS, ids=named)
def test_only_the_pages_own_entry_points_are_imported(script: Path) -> None:
    imported = re.findall(r'from "([^"]+)"', script.read_text(encoding="utf-8"))
    assert set(imported) <= {"../../scripts/app.js", "../../scripts/api.js"}


@pytest.mark.parametrize("script", SCRIPTS, ids=named)
def test_texts_of_files_and_workflows_never_become_markup(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in text


def test_the_box_for_texts_is_saved_neither_in_workflow_nor_in_prompt() -> None:
    text = (SCRIPTS[0].parent / "node_texts.js").read_text(encoding="utf-8")
    assert "widget.serialize = false" in text and re.search(r"serialize: false,", text)
