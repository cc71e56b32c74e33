"""What a run begins with: the search for a word, an embedding's vectors, mirrored twins."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from textual_inversion.tests.unit.toy_world import KEY, NORM, ToyDenoiser, ToyEncoder, pictures
from textual_inversion.training.candidates import candidates
from textual_inversion.training.captions import place
from textual_inversion.training.dataset import CachedPicture, Dataset
from textual_inversion.training.initial import InitializerError
from textual_inversion.training.initializer_search import LARGEST_BANK, InitializerSearch, halve
from textual_inversion.training.recipe import Recipe
from textual_inversion.training.sphere import angle_between
from textual_inversion.training.start import Initializer, begin


class Mirrored(ToyDenoiser):
    """A world in which left and right are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = self.camera + self.camera.flip(-1)


def twins(shown: list[CachedPicture]) -> list[CachedPicture]:
    both = []
    for each in shown:
        both += [each, dataclasses.replace(each, mean=each.mean.flip(-1), flipped=True)]
    return both


def start(text="cat", denoiser=None, recipe=None, shown=None, vectors=None):
    encoder, denoiser = ToyEncoder(), denoiser or ToyDenoiser()
    cached = shown or pictures(encoder, denoiser)
    return begin(
        recipe or Recipe(probe_size=4), encoder, denoiser, cached, Initializer(text, vectors)
    )


def test_halving_keeps_the_best_and_measures_it_most():
    asked = []

    def measure(word: str, bank: int) -> float:
        asked.append((word, bank))
        return float(word)

    words = [str(number) for number in range(16)]
    found = halve(words[::-1], measure, 4, 3)
    assert [word for word, _ in found] == ["0", "1", "2"]
    assert sum(bank == 4 for _, bank in asked) == 16
    assert sum(bank == 8 for _, bank in asked) == 8
    assert {word for word, bank in asked if bank == LARGEST_BANK} == {"0", "1", "2", "3"}


def test_the_search_finds_the_word_in_the_pictures():
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    shown = pictures(encoder, denoiser, word="vehicle")
    search = InitializerSearch(Recipe(), encoder, denoiser, Dataset(shown))
    found = search.run()
    assert len(found) == 3 and found[0][1] <= found[1][1] <= found[2][1]
    assert encoder.ids(found[0][0]) == encoder.ids("vehicle")
    assert search.passes < 900


@pytest.mark.parametrize("kind", ["subject", "style", "negative", "person"])
def test_candidates_differ_and_are_single_words(kind):
    words = [word for broad, narrow in candidates(kind).items() for word in (broad, *narrow)]
    assert all(word.isalpha() and word.islower() for word in words)
    assert len(set(words)) >= 0.9 * len(words)


def test_auto_starts_at_the_word_found_and_says_so():
    encoder, denoiser = ToyEncoder(), ToyDenoiser()
    begun = start("auto", denoiser, shown=pictures(encoder, denoiser, word="vehicle"))
    assert encoder.ids(begun.text) == encoder.ids("vehicle")
    assert torch.allclose(begun.initial[KEY], encoder.token_vectors("vehicle")[KEY])
    assert begun.notices[0].startswith("The pictures are nearest to")
    assert start("cat").notices == ()


def test_an_embedding_is_continued_at_the_norm_of_words():
    given = torch.randn(2, 8, generator=torch.Generator().manual_seed(1)) * 30
    begun = start(vectors={KEY: given}, recipe=Recipe(num_vectors=2))
    assert angle_between(begun.initial[KEY], given).max() < 1e-3
    assert torch.allclose(begun.initial[KEY].norm(dim=-1), torch.full((2,), NORM))
    kept = start(vectors={KEY: given}, recipe=Recipe(num_vectors=2, optimizer="adamw"))
    assert torch.equal(kept.initial[KEY], given)
    cycled = start(vectors={KEY: given}, recipe=Recipe(num_vectors=5, spread=0.0))
    assert angle_between(cycled.initial[KEY], given[[0, 1, 0, 1, 0]]).max() < 1e-3


@pytest.mark.parametrize("rows", [{}, {"clip_g": torch.ones(1, 8)}, {KEY: torch.ones(1, 9)}])
def test_an_embedding_of_another_kind_of_model_is_refused(rows):
    with pytest.raises(InitializerError, match=r"no vectors of 8 numbers for clip_l"):
        start(vectors=rows)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_start_that_points_nowhere_is_refused(value):
    with pytest.raises(InitializerError, match="zero or no number"):
        start(vectors={KEY: torch.stack([torch.ones(8), torch.full((8,), value)])})


def test_twins_stay_where_left_and_right_are_alike():
    denoiser = Mirrored()
    shown = twins(pictures(ToyEncoder(), denoiser))
    recipe = Recipe(flip="auto")
    begun = start("fox", denoiser, recipe, shown)
    assert len(begun.dataset.pictures) == 12 and "no harder" in begun.notices[0]


def test_twins_go_where_they_are_harder():
    denoiser = ToyDenoiser()
    shown = twins(pictures(ToyEncoder(), denoiser))
    begun = start("fox", denoiser, Recipe(flip="auto"), shown)
    assert len(begun.dataset.pictures) == 6 and "left out" in begun.notices[0]
    asked_for = start("fox", denoiser, Recipe(flip="on"), shown)
    assert len(asked_for.dataset.pictures) == 12 and asked_for.notices == ()


def test_the_word_gets_its_place_in_captions():
    placed, notice = place(["A Jug at sea", "a photo of embedding:jug, red", "{} here"], "jug")
    assert placed == ["A {} at sea", "a photo of {}, red", "{} here"] and notice is None
    placed, notice = place(["a jug-like pot", None, "jug"], "jug")
    assert placed == ["{}, a jug-like pot", None, "{}"]
    assert notice.startswith("1 of 2 captions don't name the word ('jug' or {})")


def test_concepts_find_each_other_in_captions():
    placed, notice = place(["tom beside rex", "a rex", "both"], "tom", ["rex"])
    assert placed == ["{} beside {rex}", "a {rex}", "{}, both"]
    assert notice.startswith("1 of 3")
