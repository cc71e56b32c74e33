"""The help pages as Markdown: a prompt's own signs are shown, not taken for markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from textual_inversion.devtools.node_texts import prose

PAGES = sorted((Path(__file__).resolve().parents[2] / "web" / "docs").glob("*.md"))


def test_signs_of_prompts_stay() -> None:
    assert prose("<name>, a|b and \\{0.6*cat\\}") == "\\<name>, a\\|b and \\\\{0.6\\*cat\\\\}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_nothing_vanishes_as_html(page: Path) -> None:
    text = re.sub(r"<!-- /?inputs -->", "", page.read_text(encoding="utf-8"))
    shown = re.sub(r"```.*?```|`[^`\n]*`|\\<", "", text, flags=re.DOTALL)
    assert not re.findall(r"<[A-Za-z/!][^\n]{0,20}", shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_row_of_a_table_has_its_cells(page: Path) -> None:
    rows = [row for row in page.read_text(encoding="utf-8").splitlines() if row.startswith("|")]
    for row in rows:
        bare = re.sub(r"`[^`]*`|\\\|", "", row)
        assert bare.count("|") in (3, 4), row
