"""Prompts against a vocabulary: memory before files, keywords, quotes, formulas, what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from textual_inversion.embeddings_io.composition import compose, names_in
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.grammar.formula import Named, Operation
from textual_inversion.embeddings_io.keywords import Keywords
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.metadata import TRIGGER_PHRASE
from textual_inversion.embeddings_io.prompt import expand_prompt, referenced_names
from textual_inversion.embeddings_io.saving import save
from textual_inversion.embeddings_io.vocabulary import Known, Vocabulary


def made(name: str, count: int = 1, **metadata: str) -> Embedding:
    return Embedding(name, {"clip_l": torch.ones(count, 768)}, metadata)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    save(made("cat", 4), tmp_path)
    save(made("style/ink", 2), tmp_path)
    (tmp_path / "my cat (2).safetensors").write_bytes((tmp_path / "cat.safetensors").read_bytes())
    triggered = Embedding(
        "armour",
        {"clip_l": torch.ones(1, 768)},
        {
            TRIGGER_PHRASE: "embedding:armour",
            "textual_inversion.trigger_words": "gold armour, sun knight",
        },
    )
    save(triggered, tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    return Library([tmp_path])


@pytest.fixture
def vocabulary(library: Library) -> Vocabulary:
    memory = {
        "wired": Known(made("wired", 3), "connected"),
        "cat": Known(made("cat", 9), "connected"),
    }
    return Vocabulary(library, memory)


def test_memory_wins_over_files_and_says_so(vocabulary: Vocabulary) -> None:
    composed = compose("embedding:cat, embedding:ink", vocabulary)
    assert composed.text == "embedding:cat, embedding:style/ink"
    assert composed.resolved == (
        "embedding:cat = connected, 9 vectors: clip_l [9, 768]",
        "embedding:style/ink = style/ink.safetensors, 2 vectors: clip_l [2, 768]",
    )
    assert composed.warnings == (
        "'cat' is the one that is connected, not the file cat.safetensors.",
    )
    assert vocabulary.embedding("cat").num_vectors == 9


def test_a_name_with_spaces_and_brackets_works_in_quotes(vocabulary: Vocabulary) -> None:
    composed = compose('photo,(embedding:"my cat (2)":1.2)', vocabulary)
    ((name, meant),) = composed.words.items()
    assert composed.text == f"photo,(embedding:{name}:1.2)"
    assert isinstance(meant, Named)
    assert vocabulary.embedding(meant.target or "").num_vectors == 4
    assert composed.report == (
        'embedding:"my cat (2)" = my cat (2).safetensors, 4 vectors: clip_l [4, 768], weight 1.2'
    )


def test_formulas_and_slices_are_words_of_their_own(vocabulary: Vocabulary) -> None:
    composed = compose('{0.6*embedding:wired + 0.4*"tiger"} embedding:ink[0]', vocabulary)
    (formula, slice_) = composed.words.values()
    assert isinstance(formula, Operation) and isinstance(slice_, Named) and slice_.is_sliced
    assert composed.report.splitlines() == [
        '{0.6*embedding:wired + 0.4*"tiger"} = a formula of connected',
        "embedding:ink[0] = style/ink.safetensors, 2 vectors: clip_l [2, 768]",
    ]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a embedding:wird, b", "wird"),
        ('a embedding:"wird", b', "wird"),
        ("a {2*embedding:wird}, b", "wird"),
        ("a embedding:wird[0], b", "wird"),
        ("a <embedding:wird>, b", "wird"),
    ],
)
def test_missing_names_in_every_form(vocabulary: Vocabulary, text: str, name: str) -> None:
    with pytest.raises(EmbeddingError) as raised:
        compose(text, vocabulary)
    said = str(raised.value).splitlines()
    assert said[0] == f"Embedding '{name}' not found. Did you mean 'wired'?"
    outlined = said[1][said[1].index(">>>") + 3 : said[1].rindex("<<<")]
    assert name in outlined and outlined in text
    assert compose(text, vocabulary, missing="drop").text == "a, b"
    warned = compose(text, vocabulary, missing="warning")
    assert warned.report == f"Warning: Embedding '{name}' not found. Did you mean 'wired'?"
    assert warned.text == ("a embedding:wird, b" if text == "a embedding:wird, b" else "a, b")


def test_several_missing_names_are_all_told(vocabulary: Vocabulary) -> None:
    with pytest.raises(EmbeddingError) as raised:
        compose("embedding:x1 {embedding:y1 + embedding:z1}", vocabulary)
    assert [name for name in ("'x1'", "'y1'", "'z1'") if name in str(raised.value)] == [
        "'x1'",
        "'y1'",
        "'z1'",
    ]


@pytest.mark.parametrize(
    ("bare_names", "listed", "expected"),
    [
        ("off", [], "ink, wired, gold armour"),
        ("connected", [], "ink, embedding:wired, gold armour"),
        ("library", [], "embedding:style/ink, embedding:wired, embedding:armour"),
        ("off", ["ink"], "embedding:style/ink, wired, gold armour"),
        ("off", ["gold armour"], "ink, wired, embedding:armour"),
        ("connected", ["ink", "nothing"], "embedding:style/ink, embedding:wired, gold armour"),
    ],
)
def test_bare_words(vocabulary: Vocabulary, bare_names: str, listed: list, expected: str) -> None:
    words = vocabulary.keywords(listed, bare_names)
    composed = compose("ink, wired, gold armour", vocabulary, keywords=words)
    assert composed.text == expected
    assert composed.report.count("keyword '") == expected.count("embedding:")


def test_the_report_shows_each_match(vocabulary: Vocabulary) -> None:
    words = vocabulary.keywords(bare_names="library")
    report = compose("a sun knight in (ink:1.3)", vocabulary, keywords=words).report
    assert report.splitlines() == [
        "embedding:armour = armour.safetensors, 1 vector: clip_l [1, 768], keyword 'sun knight'",
        "embedding:style/ink = style/ink.safetensors, 2 vectors: clip_l [2, 768], keyword 'ink', "
        "weight 1.3",
    ]


def test_bare_words_inside_references_and_words_stay(vocabulary: Vocabulary) -> None:
    words = vocabulary.keywords(bare_names="library")
    text = 'inked embedding:"my cat (2)" <lora:ink:1> style/ink {2*embedding:cat}'
    composed = compose(text, vocabulary, keywords=words)
    assert composed.text.startswith("inked embedding:this0 <lora:ink:1> embedding:style/ink")


def test_a_broken_file_that_is_a_keyword_is_an_error_and_can_be_passed_over(
    vocabulary: Vocabulary,
) -> None:
    words = vocabulary.keywords(bare_names="library")
    with pytest.raises(EmbeddingError, match=r"broken\.safetensors is not a"):
        compose("a broken vase", vocabulary, keywords=words)
    passed = compose("a broken vase", vocabulary, keywords=words, missing="drop")
    assert passed.text == "a broken vase" and "Warning" in passed.report


def test_trigger_words_of_what_is_connected() -> None:
    known = made("w", 1, **{"textual_inversion.trigger_words": "zwx, big dog"})
    vocabulary = Vocabulary(None, {"w": Known(known, "connected")})
    words = vocabulary.keywords(bare_names="connected")
    assert compose("a big dog", vocabulary, keywords=words).text == "a embedding:w"


def test_a_bad_choice_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(EmbeddingError, match="off, connected, library"):
        vocabulary.keywords(bare_names="all")


def test_arithmetic_without_braces_gets_a_hint(vocabulary: Vocabulary) -> None:
    (warning,) = compose("0.6*embedding:wired + tree", vocabulary).warnings
    assert "is no formula without braces" in warning


@pytest.mark.parametrize(
    ("text", "expanded"),
    [('embedding:"ink"', "embedding:style/ink"), ("<cat>,x", "embedding:cat ,x")],
)
def test_core_gets_what_it_can_read(library: Library, text: str, expanded: str) -> None:
    assert expand_prompt(text, library).text == expanded


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('embedding:"my cat (2)"', "no name that ComfyUI's own text encoder can find"),
        ("embedding:cat[0:2]", "calculated while encoding; use Encode Embedding Prompt"),
        ("{2*embedding:cat}", "calculated while encoding; use Encode Embedding Prompt"),
    ],
)
def test_what_core_cannot_read_is_refused(library: Library, text: str, problem: str) -> None:
    with pytest.raises(EmbeddingError, match=problem):
        expand_prompt(text, library)


def test_every_name_counts_for_the_fingerprint(library: Library, vocabulary: Vocabulary) -> None:
    text = '{embedding:cat - embedding:"my cat (2)"} embedding:ink[0] <armour> embedding:new'
    names = ["armour", "cat", "my cat (2).safetensors", "new", "style/ink"]
    assert names_in(text, vocabulary) == referenced_names(text, library) == names
    assert referenced_names("{embedding:cat + }", library) == []
    assert referenced_names(None, library) is None


def test_keywords_match_whole_words_longest_first() -> None:
    words = Keywords({"a": "a", "a b": "x", "a bc": "y", "é": "z", "": None})
    text = "a, a b, a bc, ba, a_b, a-b, a.b, é a"
    assert [text[start:end] for start, end, _ in words.matches(text, 0, len(text))] == [
        "a",
        "a b",
        "a bc",
        "é",
        "a",
    ]


def test_ten_thousand_keywords_are_quick_to_look_up() -> None:
    words = Keywords({f"word{number}": "x" for number in range(10_000)})
    text = "word1 word99 word9999 " * 200
    assert sum(1 for _ in words.matches(text, 0, len(text))) == 600
