"""The nodes' own words, read from a running ComfyUI, for the help pages and the English texts.

``python -m devtools.node_texts 127.0.0.1:8188`` rewrites the tables of web/docs and
locales/en/nodeDefs.json after a schema has changed.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from .client import Client

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- inputs -->", "<!-- /inputs -->"


def nodes(client: Client) -> dict[str, dict[str, Any]]:
    """The pack's nodes by id, as /object_info describes them."""
    listed = client.get("/object_info")
    return {name: node for name, node in listed.items() if name.startswith("TI_")}


def inputs_of(node: dict[str, Any]) -> dict[str, list[Any]]:
    """Every input of a node by name: its type and its options."""
    sections = (node["input"].get(section, {}) for section in ("required", "optional"))
    return {name: entry for section in sections for name, entry in section.items()}


def table(node: dict[str, Any]) -> str:
    """The inputs and outputs of a node as Markdown tables."""
    lines = ["| Input | Values, default | What it does |", "| --- | --- | --- |"]
    optional = node["input"].get("optional", {})
    for name, entry in inputs_of(node).items():
        mark = " (optional)" if name in optional else ""
        lines.append(f"| `{name}`{mark} | {_values(name, entry)} | {prose(entry[1]['tooltip'])} |")
    lines += ["", "| Output | What it is |", "| --- | --- |"]
    for name, tooltip in zip(node["output_name"], node["output_tooltips"], strict=True):
        lines.append(f"| `{name}` | {prose(tooltip)} |")
    return "\n".join(lines)


def texts(node: dict[str, Any]) -> dict[str, Any]:
    """The texts of a node in the form of locales/<language>/nodeDefs.json."""
    return {
        "display_name": node["display_name"],
        "description": node["description"],
        "inputs": {
            name: {"name": name, "tooltip": entry[1]["tooltip"]}
            for name, entry in inputs_of(node).items()
        },
        "outputs": {
            str(index): {"name": name, "tooltip": tooltip}
            for index, (name, tooltip) in enumerate(
                zip(node["output_name"], node["output_tooltips"], strict=True)
            )
        },
    }


def prose(text: str) -> str:
    """A tooltip as Markdown: what it shows of a prompt's own signs is not taken for markup."""
    return re.sub(r"[\\<*|]", r"\\\g<0>", text)


def _values(name: str, entry: list[Any]) -> str:
    kind, options = entry[0], entry[1]
    if name == "folder":
        return "the folders found"
    choices = kind if isinstance(kind, list) else options.get("options")
    if isinstance(choices, list):
        files = all("." in choice for choice in choices)
        return "the files found" if files else ", ".join(f"`{choice}`" for choice in choices)
    default = options.get("default")
    if kind in ("INT", "FLOAT"):
        return f"{_number(options['min'])} to {_number(options['max'])}, {_number(default)}"
    if kind == "BOOLEAN":
        return "on" if default else "off"
    if kind == "STRING":
        return f"text, `{default}`" if default else "text"
    return str(kind)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def main() -> None:
    found = nodes(Client(sys.argv[1]))
    for node_id, node in found.items():
        page = ROOT / "web" / "docs" / f"{node_id}.md"
        before, _, rest = page.read_text(encoding="utf-8").partition(START)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{START}\n{table(node)}\n{END}{after}", encoding="utf-8")
    english = ROOT / "locales" / "en" / "nodeDefs.json"
    written = {node_id: texts(node) for node_id, node in found.items()}
    english.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
