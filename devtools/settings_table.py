"""The README's table of every setting, written from the recipe.

``python -m devtools.settings_table`` rewrites it after a knob has changed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .node_texts import prose

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
START, END = "<!-- settings -->", "<!-- /settings -->"


def table(knobs: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Markdown: every knob with its default, what it may be, and its reason."""
    lines = ["| setting | default | may be | what it does, and why |", "|---|---|---|---|"]
    for name, knob in knobs.items():
        default = defaults[name]
        lines.append(
            f"| `{name}` | {_written(default)} | {_range(knob, default)} | {prose(knob.prose)} |"
        )
    return "\n".join(lines)


def written_in(readme: str) -> str:
    """The table as it stands in a README."""
    return readme.partition(START)[2].partition(END)[0].strip()


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return f"`{value}`" if value else ""
    return f"{value:g}"


def _range(knob: Any, default: Any) -> str:
    if knob.choices:
        return ", ".join(f"`{choice}`" for choice in knob.choices)
    if knob.minimum is None or knob.maximum is None:
        return "on, off" if isinstance(default, bool) else "text"
    return f"{_number(knob.minimum)} to {_number(knob.maximum)}"


def _number(value: float) -> str:
    if value == 2**53 - 1:
        return "2^53 - 1"
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from training.recipe import Recipe, knobs

    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    made = table(knobs(), Recipe().as_dict())
    README.write_text(f"{before}{START}\n\n{made}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
