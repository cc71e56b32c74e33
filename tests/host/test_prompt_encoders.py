"""Every other text encoder that can be built without its files: core's bits, and its own words."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.library import Library
from textual_inversion.tests.host.test_prompt_encoding import assert_equal
from textual_inversion.tests.host.tiny_clips import FURTHER, further_clip, parts_of

PLAIN = ["", "a photo of a cat", 'a (cat:1.2), \\(brackets\\) and "a sign"\nin two lines']
MARKS = ("<|object_ref_start|>", "<|reserved_special_token_0|>", "<|fim_prefix|>")
"""Tokens of vocabularies of language models that no prompt has."""


@pytest.fixture(scope="module", params=FURTHER)
def clip(request, comfyui_path: Path) -> Iterator[object]:
    found = further_clip(request.param, [])
    if found is None:
        pytest.skip("this ComfyUI has no such encoder")
    yield found
    gc.collect()


@pytest.fixture(scope="module")
def word(clip) -> Embedding:
    generator = torch.Generator().manual_seed(4)
    rows = {
        part.embedding_key: torch.randn(3, part.embedding_size, generator=generator)
        for part in parts_of(clip)
    }
    return Embedding("word", rows)


def ours(clip, text: str, *embeddings: Embedding) -> list:
    from textual_inversion.host.prompt_encoding import encode_prompt, memory_of

    return encode_prompt(clip, text, Library([]), memory_of(clip, embeddings)).conditioning


def core(clip, text: str) -> list:
    """What CLIPTextEncode does."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def meant(clip, before: str, word: Embedding, after: str) -> list:
    """Core's tokens of both texts at once, the embedding's vectors where a mark stood."""
    space = "" if _splits_at_the_space(parts_of(clip)[0]) else " "
    texts = (before + space, after)
    return clip.encode_from_tokens_scheduled(
        {key: _with_rows(clip, key, texts, word) for key in clip.tokenize("x")}
    )


def _splits_at_the_space(part) -> bool:
    """True where core takes the space before 'embedding:' away, as it did before 0.28."""
    with patch.object(part, "embedding_directory", []):
        return len(part._try_get_embedding("-")) == 2


def _part(clip, key: str):
    attributes = vars(clip.tokenizer)
    return next(attributes[one] for one in (key, f"clip_{key}") if one in attributes)


def _with_rows(clip, key: str, texts: tuple[str, str], word: Embedding) -> list:
    part = _part(clip, key)
    vocabulary, rows = part.tokenizer.get_vocab(), word.vectors[part.embedding_key]
    mark = next((one for one in MARKS if one in vocabulary), None)
    if mark is None or (part.embedding_directory is not None and key != "llama"):
        return _from_file(clip, key, part, texts, rows)
    vectors = [{"type": "embedding", "data": one} for one in rows]
    (row,) = clip.tokenize(mark.join(texts))[key]
    place = [token for token, *_ in row].index(vocabulary[mark])
    rest = row[place][1:]
    if row[-1][0] == vocabulary.get("Ċ"):  # which core's tokenizer strips behind an embedding
        row = row[:-1]
    spliced = [*row[:place], *((one, *rest) for one in vectors), *row[place + 1 :]]
    is_padded = len(row) == part.min_length > 1
    return [spliced[: len(row)] if is_padded else spliced]


def _from_file(clip, key: str, part, texts: tuple[str, str], rows: torch.Tensor) -> list:
    """What core reads where it is told of a folder."""
    with (
        patch.object(part, "embedding_directory", ["there"]),
        patch("comfy.sd1_clip.load_embed", lambda *_: rows),
    ):
        text = f"{texts[0].rstrip()} embedding:word {texts[1]}"
        if hasattr(clip.tokenizer, "llama"):  # which fails on other parts' vectors
            return part.tokenize_with_weights(text)
        return clip.tokenize(text)[key]


@pytest.mark.parametrize("text", PLAIN)
def test_text_is_encoded_as_core_does(clip, word, text: str) -> None:
    assert_equal(ours(clip, text, word), core(clip, text))
    if text:
        assert not torch.equal(core(clip, text)[0][0], core(clip, "another")[0][0])


@pytest.mark.parametrize("between", ["", " "])
def test_a_word_is_encoded_as_its_vectors(clip, word, between: str) -> None:
    from textual_inversion.host.clip_with import clip_with

    text = f"photo,{between}embedding:word and a cat"
    encoded = ours(clip, text, word)
    assert_equal(encoded, meant(clip, "photo,", word, "and a cat"))
    assert_equal(core(clip_with(clip, [word]), text), encoded)
