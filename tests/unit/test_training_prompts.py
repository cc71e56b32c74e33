"""Rule 5: every vector survives truncation in every encoder, or the run stops."""

from __future__ import annotations

import pytest
import torch

from textual_inversion.tests.unit.toy_world import END, KEY, NORM, PAD, START, ToyEncoder
from textual_inversion.training.initial import InitializerError, initial_vectors
from textual_inversion.training.prompts import (
    PromptError,
    Slot,
    build_row,
    check_survival,
)
from textual_inversion.training.sphere import angle_between
from textual_inversion.training.templates import preview_prompts, templates


def row(segments, vectors, window=12):
    return build_row(segments, vectors, start=START, end=END, pad=PAD, window=window)


def test_a_row_is_start_text_vectors_text_end_padding():
    items = row([[1, 2], [3]], 2).items
    assert items == (START, 1, 2, Slot(0), Slot(1), 3, END, *[PAD] * 5)


def test_a_prompt_may_hold_the_word_twice_or_alone():
    assert row([[1], [2], []], 1).slots == (0, 0)
    assert row([[], []], 3).items[:5] == (START, Slot(0), Slot(1), Slot(2), END)


def test_a_long_prompt_is_cut_before_the_end_token():
    built = row([[], list(range(50))], 2)
    assert len(built.items) == 12 and built.items[-1] == END
    check_survival("{} long", {KEY: built}, 2)


def test_a_cut_vector_stops_the_run_and_the_prompt_is_named():
    with pytest.raises(PromptError, match=r"Only 1 of 3 vectors.*'many words \{\}'"):
        check_survival("many words {}", {KEY: row([list(range(9)), []], 3)}, 3)


def test_one_encoder_that_cuts_is_enough():
    tokens = {"clip_l": row([[1], []], 2), "clip_g": row([list(range(10)), []], 2)}
    with pytest.raises(PromptError, match="clip_g"):
        check_survival("a {}", tokens, 2)


def test_a_prompt_without_the_word_is_refused():
    with pytest.raises(PromptError, match="doesn't contain the word"):
        check_survival("a dog", {KEY: row([[1]], 1)}, 1)


def test_filling_puts_vectors_into_their_slots():
    vectors = torch.randn(2, 8)
    filled = row([[1], []], 2).filled(vectors)
    assert filled[:2] == [START, 1]
    assert torch.equal(filled[2], vectors[0]) and torch.equal(filled[3], vectors[1])


@pytest.mark.parametrize("kind", ["subject", "style", "negative", "person"])
def test_templates_hold_the_word_once_and_differ(kind):
    sentences = templates(kind)
    assert all(sentence.count("{}") == 1 for sentence in sentences)
    assert len(set(sentences)) == len(sentences) >= 8
    assert "{}" in sentences


def test_a_negative_word_is_previewed_in_the_negative_prompt():
    assert preview_prompts("negative", "embedding:bad") == ("a picture", "embedding:bad")
    assert "embedding:x" in preview_prompts("style", "embedding:x")[0]


def start(text, count, spread=0.05):
    generator = torch.Generator().manual_seed(0)
    return initial_vectors(ToyEncoder(), text, count, spread, generator)[KEY]


def test_as_many_tokens_as_vectors_start_as_the_tokens():
    assert torch.allclose(start("red fox", 2), ToyEncoder().token_vectors("red fox")[KEY])


def test_fewer_tokens_are_repeated_and_turned_apart():
    vectors = start("fox", 3, spread=0.2)
    word = ToyEncoder().token_vectors("fox")[KEY]
    assert torch.allclose(vectors[:1], word)
    assert angle_between(vectors, word.expand(3, -1))[1:].tolist() == pytest.approx([0.2, 0.2])
    assert not torch.allclose(vectors[1], vectors[2])


def test_more_tokens_share_a_vector_at_the_norm_of_words():
    vectors = start("one two three four five", 2)
    assert vectors.shape == (2, 8)
    assert torch.allclose(vectors.norm(dim=-1), torch.full((2,), NORM))


def test_a_text_of_no_tokens_is_refused():
    with pytest.raises(InitializerError, match="no tokens"):
        start("  ", 1)
