"""Captions, tags and templates become prompts that hold every vector."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textual_inversion.tests.unit.toy_world import KEY, ToyEncoder
from textual_inversion.training.prompts import PromptError
from textual_inversion.training.recipe import Recipe
from textual_inversion.training.sentences import Sentences
from textual_inversion.training.templates import templates


@dataclasses.dataclass
class Shown:
    caption: str | None = None
    concept: int = 0


def drawn(recipe: Recipe, pictures, times=1, words=(), limit=8, window=60) -> list[str]:
    sentences = Sentences(recipe, ToyEncoder(window), words)
    generator = torch.Generator().manual_seed(0)
    return [one for _ in range(times) for one in sentences.draw(pictures, limit, generator)]


def test_captions_get_the_word_where_they_lack_it():
    sentences = Sentences(Recipe(), ToyEncoder())
    assert sentences.captioned(Shown("a photo of {} at sea")) == "a photo of {} at sea"
    assert sentences.captioned(Shown(" a dog\n at sea ")) == "{}, a dog at sea"
    assert sentences.captioned(Shown("")) == "{}"


def test_templates_and_captions_mix_by_picture():
    prompts = drawn(Recipe(), [Shown(), Shown("{} at sea")], times=20)
    assert set(prompts[1::2]) == {"{} at sea"}
    assert set(prompts[::2]) <= set(templates("subject")) and len(set(prompts[::2])) > 8


def test_no_more_different_templates_a_step_than_asked_for():
    for limit in (1, 2, 3):
        assert len(set(drawn(Recipe(), [Shown()] * 6, limit=limit))) == limit


def test_tags_are_shuffled_behind_those_that_stay():
    recipe = Recipe(tag_shuffle=True, tags_kept=1)
    prompts = drawn(recipe, [Shown("first, b, {} toy, c, d")], times=60)
    assert all(prompt.split(", ")[0] == "first" for prompt in prompts)
    assert all(prompt.split(", ")[2] == "{} toy" for prompt in prompts)
    assert all(
        sorted(prompt.split(", ")) == ["b", "c", "d", "first", "{} toy"] for prompt in prompts
    )
    assert len(set(prompts)) == 6


def test_tags_are_dropped_as_often_as_asked_but_never_the_word():
    recipe = Recipe(tag_dropout=0.3, tags_kept=1)
    prompts = drawn(recipe, [Shown("first, b, c, {}")], times=400)
    assert all("first" in prompt and "{}" in prompt for prompt in prompts)
    kept = sum("b" in prompt.split(", ") for prompt in prompts) / len(prompts)
    assert 0.62 < kept < 0.78


def test_a_shuffled_caption_that_would_cut_the_word_is_used_as_written():
    encoder = ToyEncoder(window=8)
    sentences = Sentences(Recipe(tag_shuffle=True, tags_kept=0), encoder)
    picture = Shown("a, b, {}, c d e f g")
    generator = torch.Generator().manual_seed(1)
    prompts = {sentences.draw([picture], 1, generator)[0] for _ in range(40)}
    assert prompts == {"a, b, {}, c d e f g", "b, a, {}, c d e f g"}
    for prompt in prompts:
        assert sentences.tokens(prompt)[KEY].slots == (0,)


def test_the_bare_word_comes_as_often_as_asked():
    prompts = drawn(Recipe(bare_share=0.25), [Shown("a {} at sea")], times=400)
    assert 0.18 < prompts.count("{}") / len(prompts) < 0.32
    assert set(prompts) == {"{}", "a {} at sea"}


def test_the_defaults_draw_captions_as_they_are_written():
    assert set(drawn(Recipe(), [Shown("c, b, {}, a")], times=30)) == {"c, b, {}, a"}


def test_concepts_that_are_learnt_together_own_their_slots():
    encoder = ToyEncoder(window=30)
    sentences = Sentences(Recipe(num_vectors=2), encoder, ["cat", "dog"])
    row = sentences.tokens("a {dog} beside a {cat} and {dog}")[KEY]
    assert row.slots == (2, 3, 0, 1, 2, 3)
    assert sentences.captioned(Shown("big {}", concept=1)) == "big {dog}"
    assert sentences.captioned(Shown("a {dog} here", concept=0)) == "a {dog} here"
    assert sentences.captioned(Shown("here", concept=1)) == "{dog}, here"
    prompts = sentences.draw([Shown(concept=1)], 4, torch.Generator().manual_seed(0))
    assert "{dog}" in prompts[0] and "{}" not in prompts[0]


def test_a_probe_keeps_the_caption_of_its_picture():
    sentences = Sentences(Recipe(), ToyEncoder())
    probes = sentences.probes([Shown("a {}"), Shown(), Shown("red {}"), Shown()])
    assert probes[0] == "a {}" and probes[2] == "red {}"
    assert set(probes[1::2]) <= set(templates("subject"))
    assert len(set(sentences.probes([Shown()] * 8))) == 2


def test_every_prompt_is_checked_before_a_run():
    sentences = Sentences(Recipe(num_vectors=3), ToyEncoder(window=8))
    with pytest.raises(PromptError, match="vectors fit"):
        sentences.check([Shown("one two three four {}")])
    assert len(sentences.check([Shown("{}"), Shown("a {}"), Shown("{}")])) == 2


def test_words_in_braces_that_are_no_concept_are_plain_text():
    encoder = ToyEncoder()
    plain = Sentences(Recipe(), encoder).tokens("a {red} {}")[KEY]
    assert plain.slots == (0,)
    assert plain.items == encoder.tokenize("a {red} {}", 1)[KEY].items
