"""The conformance table: core's reading, ours, and the intended one, prompt by prompt."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from textual_inversion.embeddings_io.composition import compose
from textual_inversion.embeddings_io.embedding import EmbeddingError
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.vocabulary import Vocabulary
from textual_inversion.tests.host.conformance.cases import ERROR, cases
from textual_inversion.tests.host.conformance.reader import (
    core_readings,
    meant_readings,
    tokenizers,
)
from textual_inversion.tests.host.conformance.readings import (
    DOCUMENT,
    HOSTS,
    content,
    document,
    meant,
    recorded,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(scope="module")
def sdxl(comfyui_path: Path, folder: Path):
    return tokenizers(folder)


class Clip:
    """As much of ComfyUI's CLIP as tokenising needs."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer

    def clone(self) -> Clip:
        return copy.copy(self)


def rows_of(sdxl, folder: Path, prompt: str):
    """The tokenizers and rows of Encode Embedding Prompt."""
    from textual_inversion.host.clip_encoders import encoders_of
    from textual_inversion.host.clip_with import clip_with_words
    from textual_inversion.host.prompt_encoding import word_vectors

    vocabulary = Vocabulary(Library([folder]))
    composition = compose(prompt, vocabulary)
    clip = Clip(sdxl)
    encoders = list(encoders_of(clip).values())
    words = {
        name: word_vectors(clip, encoders, expression, vocabulary)
        for name, expression in composition.words.items()
    }
    knowing = clip_with_words(clip, words).tokenizer
    return knowing, knowing.tokenize_with_weights(composition.text)


def test_there_are_enough_prompts() -> None:
    assert len(cases()) >= 120


@pytest.mark.parametrize("prompt", cases())
def test_every_prompt_is_read_as_meant(prompt: str, sdxl, folder: Path) -> None:
    meaning = cases()[prompt]
    if meaning == ERROR:
        with pytest.raises(EmbeddingError):
            rows_of(sdxl, folder, prompt)
        return
    knowing, rows = rows_of(sdxl, folder, prompt)
    for part, row in ((knowing.clip_l, rows["l"]), (knowing.clip_g, rows["g"])):
        got, wanted = content(part, row), meant(part, meaning)
        assert len(got) == len(wanted), f"{len(got)} tokens, {len(wanted)} meant"
        for (token, weight), (other, other_weight) in zip(got, wanted, strict=True):
            assert weight == pytest.approx(other_weight)
            assert torch.is_tensor(token) == torch.is_tensor(other)
            assert torch.equal(token, other) if torch.is_tensor(other) else token == other


def test_where_core_reads_what_is_meant_the_rows_are_its_own(sdxl, folder: Path) -> None:
    core, meanings = core_readings(sdxl.clip_l), meant_readings(sdxl.clip_l)
    alike = [prompt for prompt in cases() if core[prompt] == meanings[prompt]]
    assert len(alike) > 20
    for prompt in alike:
        _, rows = rows_of(sdxl, folder, prompt)
        for name, other in sdxl.tokenize_with_weights(prompt).items():
            assert len(rows[name]) == len(other)
            for row, core_row in zip(rows[name], other, strict=True):
                for (token, weight), (core_token, core_weight) in zip(row, core_row, strict=True):
                    assert weight == core_weight
                    assert torch.equal(torch.as_tensor(token), torch.as_tensor(core_token))


def test_core_reads_them_as_recorded(sdxl) -> None:
    answers = "two" if len(sdxl.clip_l._try_get_embedding("-")) == 2 else "three"
    (version,) = [version for version, count in HOSTS.items() if count == answers]
    assert core_readings(sdxl.clip_l) == recorded(version)
    assert meant_readings(sdxl.clip_l) == recorded("meant")


def test_the_document_shows_what_was_recorded() -> None:
    assert (ROOT / DOCUMENT).read_text(encoding="utf-8") == document()
