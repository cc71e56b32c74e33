"""How a tokenizer reads a prompt, written so that people and tests can compare it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from .cases import FORMULAS, NAMES, Meaning

HERE = Path(__file__).parent
DOCUMENT = Path("docs", "prompt_conformance.md")
HOSTS = {"0.3.75": "two", "0.33": "three"}
"""ComfyUI's version of a recorded column, and how many values its look-up answers with."""

Tokens = list[tuple[object, float]]


def vectors(key: str, width: int) -> dict[str, torch.Tensor]:
    """The table's embeddings for one encoder, [n, width], a constant by name and row."""
    found = {}
    for number, (name, count) in enumerate(NAMES.items()):
        rows = torch.arange(count, dtype=torch.float32).unsqueeze(1) + 10.0 * (number + 1)
        found[name] = rows.expand(count, width) / 8 + (0.5 if key == "clip_g" else 0.0)
    return found


def meant(part, meaning: Meaning) -> Tokens:
    """The tokens of a meaning, each piece tokenised by itself."""
    known = vectors(part.embedding_key, part.embedding_size)
    found: Tokens = []
    for piece, weight in meaning:
        if piece.startswith("@"):
            found += [(row, weight) for row in _rows(piece[1:], known)]
        else:
            ids = part.tokenizer(piece)["input_ids"][1:-1]
            found += [(token, weight) for token in ids]
    return found


def _rows(piece: str, known: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if piece.startswith("="):
        return FORMULAS[piece[1:]](known)
    name, bracket, bounds = piece.partition("[")
    if not bracket:
        return known[name]
    first, _, last = bounds[:-1].partition(":")
    return known[name][int(first) if first else None : int(last) if last else None]


def content(part, rows: Sequence[Sequence[tuple]]) -> Tokens:
    """The tokens of all rows without start, end and padding."""
    kept: Tokens = []
    for row in rows:
        ids = [token for token, *_ in row]
        end = next(i for i, t in enumerate(ids) if not torch.is_tensor(t) and t == part.end_token)
        kept += [(token, weight) for token, weight, *_ in row[1:end]]
    return kept


def written(part, tokens: Tokens) -> str:
    """The tokens as text: words, embeddings in ⟨⟩ with the number of vectors, weights after :."""
    known = vectors(part.embedding_key, part.embedding_size)
    pieces: list[tuple[str, float]] = []
    for token, weight in tokens:
        if torch.is_tensor(token):
            name = _name_of(token, known)
        else:
            name = part.tokenizer.convert_ids_to_tokens(int(token)).removesuffix("</w>")
        pieces.append((name, round(weight, 4)))
    groups: list[tuple[list[str], float]] = []
    for name, weight in pieces:
        if groups and groups[-1][1] == weight:
            groups[-1][0].append(name)
        else:
            groups.append(([name], weight))
    return " ".join(_group(names, weight) for names, weight in groups) or "(nothing)"


def _group(names: list[str], weight: float) -> str:
    text = " ".join(names)
    return text if weight == 1 else f"({text}):{weight:g}"


def _name_of(row: torch.Tensor, known: Mapping[str, torch.Tensor]) -> str:
    for name, rows in known.items():
        for number, candidate in enumerate(rows):
            if torch.equal(row, candidate):
                return f"⟨{name}⟩" if len(rows) == 1 else f"⟨{name}.{number}⟩"
    return f"⟨{float(row[0]):g}⟩"


def recorded(version: str) -> dict[str, str]:
    """The recorded readings of ComfyUI's own tokenizer by prompt."""
    label = version if version == "meant" else f"comfyui-{version}"
    path = HERE / f"{label}.json"
    return json.loads(path.read_text(encoding="utf-8"))


def document() -> str:
    """The table as Markdown, from what was recorded."""
    columns = {version: recorded(version) for version in HOSTS}
    meanings = recorded("meant")
    lines = [
        "# How prompts are read",
        "",
        "Made by the tests: every row is run on ComfyUI's own CLIP-L tokenizer and through *Encode",
        "Embedding Prompt*, which reads each one as meant on both versions (and in CLIP-G too).",
        "⟨name⟩ is an embedding, ⟨name.0⟩ the first of its vectors, ⟨2.5⟩ a calculated one,",
        "(word):1.2 a weight, and = means that ComfyUI alone reads what is meant. A *refused*",
        "prompt stops with a sentence that says what is missing.",
        "",
        f"Embeddings here: {', '.join(f'`{name}` ({count})' for name, count in NAMES.items())}.",
        "",
        f"| {len(meanings)} prompts | Meant, and with this pack | "
        + " | ".join(f"ComfyUI {version} alone" for version in HOSTS)
        + " |",
        "| --- " * (2 + len(HOSTS)) + "|",
    ]
    for prompt, meaning in meanings.items():
        cells = [_code(prompt), _cell(meaning)]
        for column in columns.values():
            cells.append("=" if column[prompt] == meaning else _cell(column[prompt]))
        lines.append(f"| {' | '.join(cells)} |")
    counts = [
        sum(column[prompt] == meaning for prompt, meaning in meanings.items())
        for column in columns.values()
    ]
    told = ", ".join(f"{count} by {version}" for count, version in zip(counts, HOSTS, strict=True))
    lines += ["", f"Of {len(meanings)} prompts, read as meant by ComfyUI alone: {told}."]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    shown = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return f"`` {shown} ``".replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`").replace("*", "\\*")
