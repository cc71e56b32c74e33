"""References in prompt text: found, set apart, and nothing else touched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textual_inversion.embeddings_io.references import expand, find, leading_name
from textual_inversion.embeddings_io.weights import segments

KNOWN = {
    "a": "a",
    "b": "b",
    "ab": "ab",
    "c": "style/c",
    "style/c": "style/c",
    "7": "7.pt",
    "7.pt": "7.pt",
    "ver1.2": "ver1.2",
    "p(1)": "p(1)",
    "猫": "猫",
}


def lookup(name: str) -> str | None:
    return KNOWN.get(name.removesuffix(".safetensors").replace("\\", "/"))


EXPANDED = {
    "photo,embedding:a": "photo, embedding:a",
    "embedding:a,embedding:b": "embedding:a, embedding:b",
    "embedding:a, embedding:b": "embedding:a, embedding:b",
    "[embedding:a]": "[ embedding:a ]",
    "(embedding:a:1.2)": "(embedding:a:1.2)",
    "(photo,embedding:a:1.2)": "(photo, embedding:a:1.2)",
    "embedding:a:1.2": "(embedding:a:1.2)",
    "embedding:a:.5 cat": "(embedding:a:.5) cat",
    "(x embedding:a:1.2, y:1.3)": "(x (embedding:a:1.2), y:1.3)",
    "embedding:a.": "embedding:a .",
    "embedding:a...": "embedding:a ...",
    "embedding:ver1.2.": "embedding:ver1.2 .",
    "embedding:a's": "embedding:a 's",
    "embedding:a:": "embedding:a :",
    "embedding:a: b": "embedding:a : b",
    "x\tembedding:a\ty": "x\t embedding:a\ty",
    "x\nembedding:a\ny": "x\nembedding:a\ny",
    "embedding: a": "embedding:a",
    "embedding:embedding:a": "embedding:a",
    "embedding:a.safetensors": "embedding:a",
    "embedding:c": "embedding:style/c",
    "embedding:style\\c": "embedding:style/c",
    "(embedding:7)": "(embedding:7.pt)",
    "(embedding:7:1.5)": "(embedding:7.pt:1.5)",
    "embedding:p\\(1\\)": "embedding:p\\(1\\)",
    "\\(embedding:a\\)": "\\( embedding:a \\)",
    "embedding:猫,x": "embedding:猫 ,x",
    "embedding:a,(b)": "embedding:a,(b)",
    "((embedding:a": "(( embedding:a",
    "embedding:a)": "embedding:a )",
}
UNTOUCHED = ["", "a cat", "myembedding:a", "xembedding:", "((()", "a, b (c:1.2) \\( embedding"]


@pytest.mark.parametrize("text", EXPANDED)
def test_references_are_set_apart(text: str) -> None:
    assert expand(text, lookup) == EXPANDED[text]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_text_without_references_stays(text: str) -> None:
    assert expand(text, lookup) == text and find(text, lookup) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("embedding:abc", "abc"),
        ("embedding:a-x", "a-x"),
        ("embedding:a/b,cat", "a/b"),
        ("embedding:a.b", "a.b"),
        ("embedding:A", "A"),
        ("embedding:x:1.2", "x"),
        ("embedding:x.", "x"),
        ("embedding:../a", "../a"),
        ("embedding:", ""),
        ("embedding:,a", ""),
        ("embedding:(a)", ""),
        ("(embedding:)", ""),
    ],
)
def test_names_that_do_not_exist_are_missing(text: str, name: str) -> None:
    (reference,) = find(text, lookup)
    assert reference.target is None and reference.name == name


@pytest.mark.parametrize(
    ("text", "kept", "dropped"),
    [
        ("photo, embedding:x, cat", "photo, embedding:x, cat", "photo, cat"),
        ("photo,embedding:x,cat", "photo, embedding:x ,cat", "photo,cat"),
        ("photo embedding:x", "photo embedding:x", "photo "),
        ("photo, embedding:x", "photo, embedding:x", "photo"),
        ("embedding:x, cat", "embedding:x, cat", "cat"),
        ("a embedding:x b", "a embedding:x b", "a b"),
        ("(embedding:x:1.2) cat", "(embedding:x:1.2) cat", "cat"),
        ("((embedding:x)), cat", "((embedding:x)), cat", "cat"),
        ("(embedding:x, cat:1.2)", "(embedding:x, cat:1.2)", "(cat:1.2)"),
        ("embedding:x,embedding:a", "embedding:x, embedding:a", "embedding:a"),
        ("embedding:x:1.5 cat", "(embedding:x:1.5) cat", "cat"),
        ("x embedding:", "x ", "x "),
        ("embedding:, embedding:a", "embedding:a", "embedding:a"),
    ],
)
def test_missing_references_can_stay_or_go(text: str, kept: str, dropped: str) -> None:
    assert expand(text, lookup) == kept
    assert expand(text, lookup, drop_missing=True) == dropped


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of b", "a photo of embedding:b"),
        ("(b:1.2),b.", "(embedding:b:1.2), embedding:b ."),
        ("ab b", "embedding:ab embedding:b"),
        ("bb b-b b_b b/b a.b b.b x\\b", "bb b-b b_b b/b a.b b.b x\\b"),
        ("embedding:b/b embedding:x.b", "embedding:b/b embedding:x.b"),
        ("<lora:b:0.5> b", "<lora:b:0.5> embedding:b"),
        ("embedding:b b", "embedding:b embedding:b"),
        ("\\(b\\)", "\\( embedding:b \\)"),
        ("none here", "none here"),
    ],
)
def test_keywords_are_whole_words(text: str, expected: str) -> None:
    assert expand(text, lookup, ["b", "ab", "gone"]) == expected


def test_a_keyword_without_a_file_stays_a_word() -> None:
    assert expand("gone, b", lookup, ["gone", "b"]) == "gone, embedding:b"


def test_the_longest_keyword_wins() -> None:
    assert expand("style/c", lookup, ["c", "style/c"]) == "embedding:style/c"


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("embedding:a", 1.0),
        ("(embedding:a)", 1.1),
        ("((embedding:a))", 1.21),
        ("(x (embedding:a:0.5):2)", 0.5),
        ("(x embedding:a y:2)", 2.0),
        ("embedding:a:1.7", 1.7),
        ("(embedding:7)", 1.1),
        ("((embedding:a:2", 1.0),
    ],
)
def test_weights_are_those_of_the_brackets(text: str, weight: float) -> None:
    (reference,) = find(text, lookup)
    assert reference.weight == pytest.approx(weight)


def test_the_longest_name_is_taken_and_names_are_not_cut_short() -> None:
    assert leading_name("ver1.2.", lookup) == ("ver1.2", 6, "ver1.2")
    assert leading_name("abc", lookup) is None
    assert leading_name("a,b", lookup) == ("a", 1, "a")
    assert leading_name("p\\(1\\),", lookup) == ("p(1)", 6, "p(1)")


def test_a_keyword_before_a_full_stop_and_a_reference_is_a_whole_word() -> None:
    assert expand("a.embedding:b", lookup, ("a",)) == "embedding:a . embedding:b"
    assert expand("a.b embedding:b", lookup, ("a",)) == "a.b embedding:b"


def test_a_long_text_without_spaces_takes_no_time() -> None:
    text = "embedding:" + ",x" * 20_000
    assert len(find(text, lookup)) == 1


WORDS = "embedding: embedding:a embedding:x a b ab style/c :1.2 7 ver1.2 \\( \\) cat .safetensors"
PIECES = st.sampled_from(
    [*"()[]{}<>,.:;'\"|\\ \n\t\u00a0猫", *WORDS.split(), "<lora:b:1>", "embedding:猫"]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)
KEYWORDS = st.sampled_from([(), ("a", "b", "ab"), ("style/c", "c", "gone", "7")])


@settings(max_examples=1500, deadline=None)
@given(text=TEXTS, keywords=KEYWORDS, drop=st.booleans())
def test_expanding_twice_changes_nothing(text: str, keywords: tuple, drop: bool) -> None:
    once = expand(text, lookup, keywords, drop_missing=drop)
    assert expand(once, lookup, keywords, drop_missing=drop) == once
    assert not [one for one in find(once, lookup) if not one.name or (drop and not one.target)]


@settings(max_examples=1500, deadline=None)
@given(text=TEXTS)
def test_only_references_and_spaces_change(text: str) -> None:
    before = find(text, lookup)
    if any(not one.name for one in before):
        return
    expanded = expand(text, lookup)
    if not before:
        assert expanded is text
    assert [one.name for one in find(expanded, lookup)] == [
        (one.target or one.name) for one in before
    ]
    assert [one.weight for one in find(expanded, lookup)] == pytest.approx(
        [one.weight for one in before]
    )
    assert literal(text) == literal(expanded)


@settings(max_examples=500, deadline=None)
@given(text=st.text(alphabet="abc ,.:()[]\\\n1", max_size=60))
def test_other_text_is_byte_identical(text: str) -> None:
    assert expand(text, lookup) == text


@given(text=st.text(alphabet="ab():1.\\ ", max_size=40))
def test_segments_are_in_order_and_inside_the_text(text: str) -> None:
    ends = [0]
    for segment in segments(text):
        assert ends[-1] <= segment.start < segment.end <= len(text) or segment.start == segment.end
        ends.append(segment.end)


def literal(text: str) -> str:
    """The text with a mark for each reference, without spaces and a bare weight's brackets."""
    kept, position = "", 0
    for one in find(text, lookup):
        kept += text[position : one.start] + "@"
        position = one.end
    kept += text[position:]
    return re.sub(r"\s|:\s*\d*\.?\d*(?=\))|(?<!\\)[()]", "", kept)
