"""Token ids of the grammar's words, as CLIP's own tokenizer gives them."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from .networks import WINDOW

TABLE = Path(__file__).with_name("tokens.json")
START, END = 49406, 49407


@functools.cache
def ids_of_words() -> dict[str, list[int]]:
    """Word -> CLIP token ids; `tokens.json` was written by `write_table`."""
    return json.loads(TABLE.read_text())


@functools.cache
def live_ids() -> list[int]:
    """The ids whose rows are trained, in the order of the narrow token table."""
    used = {token for ids in ids_of_words().values() for token in ids}
    return [START, END, *sorted(used)]


@functools.cache
def rows_of_words() -> dict[str, list[int]]:
    """Word -> rows of the narrow token table."""
    row = {token: i for i, token in enumerate(live_ids())}
    return {word: [row[token] for token in ids] for word, ids in ids_of_words().items()}


def table_rows(captions: Sequence[str]) -> Tensor:
    """Captions -> rows of the narrow token table, [n, 77], padded with the end token."""
    words = rows_of_words()
    out = torch.ones(len(captions), WINDOW, dtype=torch.long)
    for i, caption in enumerate(captions):
        rows = [0]
        for word in caption.replace(",", " , ").split():
            rows += words[word]
        out[i, : len(rows)] = torch.tensor(rows)
    return out


def write_table(tokenizer: object, words: Sequence[str]) -> None:
    """Writes `tokens.json` with a tokenizer that has `encode(text, add_special_tokens=False)`."""
    table = {word: tokenizer.encode(word, add_special_tokens=False) for word in words}
    TABLE.write_text(json.dumps(table, indent=0) + "\n")
