"""Formulas, quotes, slices and tags: read right, or refused with a sentence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textual_inversion.embeddings_io.grammar.arithmetic import evaluate, slerp
from textual_inversion.embeddings_io.grammar.formula import FormulaError, Named, parse
from textual_inversion.embeddings_io.grammar.outline import outlined
from textual_inversion.embeddings_io.grammar.sugar import desugar, stray_formula
from textual_inversion.embeddings_io.references import expand

KNOWN = {name: name for name in ("a", "b", "cat", "my cat", "it's (2)", "style/c", "e-x.1")}
VECTORS = {
    "a": torch.tensor([[1.0, 0.0]]),
    "b": torch.tensor([[0.0, 2.0]]),
    "cat": torch.tensor([[1.0, 1.0], [3.0, 5.0], [0.0, 4.0]]),
}
WORDS = {"tiger": torch.tensor([[10.0, 0.0]]), "big dog": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}


def value(text: str) -> list[list[float]]:
    rows = evaluate(parse(text, KNOWN.get), lambda named: VECTORS[named.name], WORDS.__getitem__)
    assert rows is not None
    return rows.tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("embedding:a", [[1, 0]]),
        ("embedding:a + embedding:b", [[1, 2]]),
        ("embedding:a - embedding:b", [[1, -2]]),
        ("2*embedding:a", [[2, 0]]),
        ("embedding:a * 2", [[2, 0]]),
        ("embedding:a*.5", [[0.5, 0]]),
        ("embedding:a / 4", [[0.25, 0]]),
        ("-embedding:a", [[-1, 0]]),
        ("-(embedding:a + embedding:b)", [[-1, -2]]),
        ("1 + 1 * embedding:a", None),
        ("(1 + 1) * embedding:a", [[2, 0]]),
        ("2*3*embedding:a", [[6, 0]]),
        ("6/2/3*embedding:a", [[1, 0]]),
        ("1e1*embedding:a", [[10, 0]]),
        ("embedding:a - embedding:a - embedding:a", [[-1, 0]]),
        ('0.5*embedding:a + 0.5*"tiger"', [[5.5, 0]]),
        ('"big dog" + embedding:a', [[2, 2], [4, 4]]),
        ("embedding:cat + embedding:a", [[2, 1], [4, 5], [1, 4]]),
        ("embedding:cat[0]", [[1, 1]]),
        ("embedding:cat[-1]", [[0, 4]]),
        ("embedding:cat[1:]", [[3, 5], [0, 4]]),
        ("embedding:cat[:1]", [[1, 1]]),
        ("embedding:cat[ 0 : 2 ] + embedding:cat[1:3]", [[4, 6], [3, 9]]),
        ("mean(embedding:a, embedding:b)", [[0.5, 1]]),
        ("mean(embedding:cat)", [[4 / 3, 10 / 3]]),
        (
            "mean(embedding:cat, embedding:a, embedding:a)",
            [[1, 1 / 3], [5 / 3, 5 / 3], [2 / 3, 4 / 3]],
        ),
        ("slerp(embedding:a, embedding:b, 0)", [[1, 0]]),
        ("slerp(embedding:a, embedding:b, 1)", [[0, 2]]),
        ("slerp(embedding:a, embedding:b, 0.5)", [[1.5 * 0.5**0.5, 1.5 * 0.5**0.5]]),
        ('embedding:"a" + embedding:"b"', [[1, 2]]),
    ],
)
def test_formulas_are_calculated(text: str, rows: list | None) -> None:
    if rows is None:
        with pytest.raises(FormulaError, match="adds a number"):
            parse(text, KNOWN.get)
        return
    assert torch.allclose(torch.tensor(value(text)), torch.tensor(rows, dtype=torch.float32))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("embedding:a +", "ends too early"),
        ("embedding:a + tiger", "'tiger' is not understood"),
        ("embedding:a * embedding:b", "multiplies vectors with vectors"),
        ("2 / embedding:a", "divides by vectors"),
        ("embedding:a + 1", "adds a number to vectors"),
        ("1 + 2", "makes a number"),
        ("(embedding:a", r"'\)' is missing"),
        ("embedding:a)", r"'\)' is not understood"),
        ("embedding:a embedding:b", "not understood"),
        ("embedding:", "without a name"),
        ('embedding:a + ""', "empty quotes"),
        ("slerp(embedding:a, embedding:b)", "takes two embeddings and a share"),
        ("slerp(embedding:a, 1, 1)", "a number where vectors"),
        ("slerp(embedding:a, embedding:b, embedding:a)", "a number where vectors"),
        ("mean()", "not understood"),
        ("mean(1)", "a number where vectors"),
        ("(" * 60 + "embedding:a", "nested more than"),
        ("__import__('os')", "not understood"),
    ],
)
def test_what_is_no_formula_is_refused_with_a_sentence(text: str, problem: str) -> None:
    with pytest.raises(FormulaError, match=problem):
        parse(text, KNOWN.get)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("embedding:cat + embedding:cat[0:2]", "joins 3 and 2 vectors"),
        ("embedding:cat[5] * 2", "is empty: it has 3 vectors"),
        ("embedding:a / (1 - 1)", "divides by zero"),
    ],
)
def test_what_cannot_be_calculated_is_said(text: str, problem: str) -> None:
    with pytest.raises(FormulaError, match=problem):
        value(text)


def test_an_encoder_without_one_operand_gets_nothing() -> None:
    formula = parse("embedding:a + embedding:b", KNOWN.get)
    only_a = {"a": VECTORS["a"]}
    assert evaluate(formula, lambda named: only_a.get(named.name), WORDS.__getitem__) is None


@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_slerp_keeps_to_the_sphere(share: float, seed: int) -> None:
    a, b = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(seed)).unbind()
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    between = slerp(a, b, share)
    assert torch.allclose(between.norm(dim=1), torch.ones(3), atol=1e-5)
    whole = (a * b).sum(1).clamp(-1, 1).acos()
    assert torch.allclose((a * between).sum(1).clamp(-1, 1).acos(), share * whole, atol=2e-3)


def test_slerp_between_equal_directions_goes_straight() -> None:
    a = torch.tensor([[1.0, 0.0]])
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a)


def lookup_in(plain) -> object:
    return lambda name: name if name in plain.stand_ins else KNOWN.get(name)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ('a {0.6*embedding:cat + 0.4*"tiger"} on', "a embedding:this0 on"),
        ("x{embedding:cat - embedding:a}y", "x embedding:this0 y"),
        (r"\{2*embedding:a\}", "embedding:this0"),
        ("({2*embedding:a}:1.3)", "(embedding:this0:1.3)"),
        ("{slerp(embedding:a, embedding:b, 0.3)},b", "embedding:this0 ,b"),
        ("{a|{2*embedding:a}}", "{a| embedding:this0 }"),
        ('embedding:"my cat"s', "embedding:this0 s"),
        ('(embedding:"my cat":1.2)', "(embedding:this0:1.2)"),
        ('embedding:"my cat":1.2 x', "(embedding:this0:1.2) x"),
        ('photo,embedding:"it\'s (2)",', "photo, embedding:this0,"),
        ('embedding:embedding:"my cat"', "embedding:this0"),
        ("embedding:cat[0:2],b", "embedding:this0 ,b"),
        ("embedding:cat[0][1]", "embedding:this0 [1]"),
        ("<a>", "embedding:this0"),
        ("<my cat>,<it's (2)>", "embedding:this0, embedding:this1"),
        ("<embedding:a>", "embedding:this0"),
        ("<embedding:a:0.8>", "(embedding:this0:0.8)"),
        ("this0 <a>", "this0 embedding:this-0"),
    ],
)
def test_everything_else_becomes_an_ordinary_reference(text: str, expanded: str) -> None:
    plain = desugar(text, KNOWN.get)
    assert expand(plain.text, lookup_in(plain)) == expanded
    for stand_in in plain.stand_ins.values():
        assert text[stand_in.start : stand_in.end] == stand_in.shown and not stand_in.missing


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cat",
        "{a|b|embedding:a}",
        "{red|blue} {green}",
        "{embedding:a}",
        "{embedding:a, red + blue}",
        '{photo of "a cat" + dog}',
        '{"a quoted word"}',
        "<lora:a:1>",
        "<lora:cat>",
        "<nobody>",
        "<|im_start|>user\ncat<|im_end|>",
        "<a|b>",
        "a < b > c <",
        "embedding:a[cat]",
        "embedding:a [0]",
        "embedding:a",
        "[embedding:a]",
        "{",
        "}{",
        "{2*3}",
    ],
)
def test_what_means_no_embedding_stays(text: str) -> None:
    assert desugar(text, KNOWN.get).text == text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('embedding:"gone"', ["gone"]),
        ("embedding:gone[0]", ["gone"]),
        ("{2*embedding:gone + embedding:a}", ["gone"]),
        ("<embedding:gone>", ["gone"]),
        ("{embedding:x + embedding:y}", ["x", "y"]),
    ],
)
def test_missing_names_are_known_by_name(text: str, names: list[str]) -> None:
    (stand_in,) = desugar(text, KNOWN.get).stand_ins.values()
    assert stand_in.missing == names


@pytest.mark.parametrize(
    "text", ["{0.6*embedding:a + tiger}", "{embedding:a + embedding:b + }", "{mean(embedding:a}"]
)
def test_a_formula_with_a_mistake_is_an_error_not_text(text: str) -> None:
    with pytest.raises(FormulaError, match="cannot be read"):
        desugar(text, KNOWN.get)


def test_slices_are_as_in_python() -> None:
    rows = torch.arange(5.0).unsqueeze(1)
    for written in ("0:2", "1:", ":3", ":", "-2:", ":-1", "-3:-1"):
        (stand_in,) = desugar(f"embedding:a[{written}]", KNOWN.get).stand_ins.values()
        meant = stand_in.expression
        assert isinstance(meant, Named)
        first, _, last = written.partition(":")
        expected = rows[int(first) if first else None : int(last) if last else None]
        assert torch.equal(rows[meant.first : meant.last], expected), written


@settings(max_examples=600, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_characters='"<'), max_size=80))
def test_text_without_references_is_never_changed(text: str) -> None:
    if "embedding:" not in text:
        assert desugar(text, KNOWN.get).text is text
        assert expand(text, KNOWN.get) is text


MARKS = [
    "{",
    "}",
    "|",
    "<",
    ">",
    '"',
    "[0]",
    "[0:2]",
    "*",
    "+",
    "-",
    "(",
    ")",
    ":1.2",
    " ",
    ",",
    "\\",
]
PIECES = st.sampled_from(
    [*MARKS, "embedding:", "a", "cat", "my cat", "0.5", "mean", "tiger", "slerp("]
)


@settings(max_examples=600, deadline=None)
@given(text=st.lists(PIECES, max_size=14).map("".join))
def test_expansion_is_idempotent_and_fails_with_a_sentence_only(text: str) -> None:
    try:
        plain = desugar(text, KNOWN.get)
    except FormulaError:
        return
    look_up = lookup_in(plain)
    once = expand(plain.text, look_up)
    assert expand(once, look_up) == once
    again = desugar(once, look_up)
    assert again.text == once or again.stand_ins.keys() & plain.stand_ins.keys() == set()


def test_arithmetic_outside_of_braces_is_noticed() -> None:
    assert stray_formula("a 0.6*embedding:cat + b") == "0.6*embedding:" or stray_formula(
        "a 0.6*embedding:cat + b"
    ).startswith("6*embedding:")
    assert stray_formula("embedding:cat * 2") and not stray_formula("2 embedding:cat, 3 * 4")


def test_the_outline_shows_the_place() -> None:
    text = "first line\nphoto of embedding:nmae on a beach"
    assert outlined(text, "embedding:nmae") == "  photo of >>>embedding:nmae<<< on a beach"
    long = outlined("x " * 100 + "embedding:nmae" + " y" * 100, "embedding:nmae")
    assert ">>>embedding:nmae<<<" in long and len(long) <= 2 + 60 + 6
    assert outlined("nothing", "embedding:x") == ""
