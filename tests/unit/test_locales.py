"""The node texts in other languages, as they can be checked without knowing the language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = sorted(folder.name for folder in (ROOT / "locales").iterdir())
OTHERS = [language for language in LANGUAGES if language != "en"]
CODE = re.compile(r"\(?embedding:[^\s\u3001\u3002\uff0c\uff1a\uff1b]*|'[^']*'|\\\{.*?\\\}")
CHINESE = r"[\u3400-\u9fff“”]"


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text with the keys that lead to it."""
    if isinstance(value, str):
        yield path, value
    else:
        for key, inner in value.items():
            yield from texts(inner, f"{path}.{key}" if path else key)


def node_texts(language: str) -> dict[str, str]:
    file = ROOT / "locales" / language / "nodeDefs.json"
    return dict(texts(json.loads(file.read_text(encoding="utf-8"))))


def test_chinese_has_chinese_punctuation() -> None:
    found = re.compile(f"{CHINESE}[,;:()!?]|[,;:()!?]{CHINESE}")
    for path, text in node_texts("zh").items():
        prose = CODE.sub("", text)
        assert not found.search(prose), f"{path}: {text}"


@pytest.mark.parametrize("language", OTHERS)
def test_what_is_typed_or_chosen_is_the_same_in_every_language(language: str) -> None:
    english, translated = node_texts("en"), node_texts(language)
    assert translated.keys() == english.keys()
    for path, text in english.items():
        for word in re.findall(r"embedding:(?=\S)|\{\}|models/\w+|\.txt|\.mask\.png", text):
            assert word in translated[path], f"{language} {path}: {word} is missing"
