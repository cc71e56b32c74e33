"""Arithmetic between embeddings and words, as in ``0.6*embedding:cat + 0.4*"tiger"``: its parser.

    sum     = product, { ("+" | "-"), product }
    product = factor, { ("*" | "/"), factor }
    factor  = "-", factor | number | words | reference | "(", sum, ")"
            | ("mean" | "slerp"), "(", sum, { ",", sum }, ")"
    words   = '"', text, '"'

A reference is ``embedding:name`` or ``embedding:"a name"``, with ``[first:last]`` behind it or not.
Numbers scale vectors, vectors are added to vectors; everything else is refused while parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ..names import EmbeddingError
from ..references import Lookup, leading_name

FUNCTIONS = {"mean": (1, None), "slerp": (3, 3)}
"""How many arguments each takes at least and at most."""

QUOTED = r'"(?:[^"\\]|\\.)*"'
SLICE = r"\[\s*(?:-?\d+|-?\d*\s*:\s*-?\d*)\s*\]"

_FACTOR = re.compile(
    rf"\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|({QUOTED})|((?:embedding:\s*)+)"
    r"|(\()|(-)|(mean|slerp)\s*\()"
)
_NUMBER, _WORDS, _EMBEDDING, _BRACKET, _MINUS, _CALL = range(1, 7)
_QUOTED = re.compile(QUOTED)
_SLICE = re.compile(SLICE)
_BOUNDS = re.compile(r"\s*(-?\d*)\s*(:?)\s*(-?\d*)\s*")
_SPACE = re.compile(r"\s*")
_NAME_RUN = re.compile(r"(?:\\[()]|[^\s()\[\]{}<>*,\"])+")
_MISSING_NAME = re.compile(r"[\w\-./+]*")
DEEPEST = 40


class FormulaError(EmbeddingError):
    """A formula that cannot be read or calculated; the message quotes it."""


class Number(NamedTuple):
    value: float


class Words(NamedTuple):
    """Text in quotes: the token table's vectors of its tokens."""

    text: str


class Named(NamedTuple):
    """One embedding; `target` is what the lookup answered, None where it is missing.

    `first` and `last` are the bounds of a slice as Python counts them, or None.
    """

    name: str
    target: str | None
    first: int | None = None
    last: int | None = None

    @property
    def is_sliced(self) -> bool:
        return self.first is not None or self.last is not None


class Operation(NamedTuple):
    """`symbol` is one of + - * / mean slerp; a leading minus is a multiplication by -1."""

    symbol: str
    operands: tuple[Expression, ...]


Expression = Number | Words | Named | Operation


def parse(text: str, lookup: Lookup) -> Expression:
    """The formula in `text`, which makes vectors. Raises FormulaError with what is wrong where."""
    reader = _Reader(text, lookup)
    expression = reader.sum()
    reader.end()
    if not reader.makes_vectors:
        raise reader.error("it makes a number, not vectors")
    return expression


def leaves(expression: Expression) -> Iterator[Number | Words | Named]:
    """The numbers, words and embeddings of an expression, from left to right."""
    if isinstance(expression, Operation):
        for operand in expression.operands:
            yield from leaves(operand)
    else:
        yield expression


def slice_bounds(written: str) -> tuple[int | None, int | None]:
    """'[1:3]' gives (1, 3), '[2]' gives (2, 3), '[-1]' the last vector, '[:]' everything."""
    bounds = _BOUNDS.fullmatch(written, 1, len(written) - 1)
    assert bounds is not None
    first, colon, last = bounds.groups()
    if not colon:
        index = int(first)
        return index, (index + 1 if index != -1 else None)
    return int(first) if first else 0, int(last) if last else None


def unquoted(written: str) -> str:
    """The text between quotes, where a backslash protects a quote or a backslash."""
    inside = written[1:-1]
    return re.sub(r'\\(["\\])', r"\1", inside) if "\\" in inside else inside


class _Reader:
    """Reads on from `position`; `makes_vectors` is about the part that was read last."""

    def __init__(self, text: str, lookup: Lookup) -> None:
        self.text = text
        self.lookup = lookup
        self.position = 0
        self.depth = 0
        self.makes_vectors = False

    def sum(self) -> Expression:
        total: Expression | None = None
        sign, kind = "", False
        while True:
            part = self.factor()
            while (symbol := self._peek()) == "*" or symbol == "/":
                part = self._scaled(symbol, part)
            if total is None:
                total, kind = part, self.makes_vectors
            elif kind != self.makes_vectors:
                raise self.error("it adds a number to vectors")
            else:
                total = Operation(sign, (total, part))
            if symbol != "+" and symbol != "-":
                return total
            sign = symbol
            self.position += 1

    def factor(self) -> Expression:
        found = _FACTOR.match(self.text, self.position)
        if found is None:
            raise self._unknown_factor()
        self.position = found.end()
        self.makes_vectors = found.lastindex != _NUMBER
        if not self.makes_vectors:
            return Number(float(found.group(_NUMBER)))
        if found.lastindex == _WORDS:
            return self._words(found.group(_WORDS))
        if found.lastindex == _EMBEDDING:
            return self._reference()
        self.depth += 1
        if self.depth >= DEEPEST:
            raise self.error(f"it is nested more than {DEEPEST} deep")
        inside = self._nested(found)
        self.depth -= 1
        return inside

    def end(self) -> None:
        if self._peek():
            raise self.error(f"{self.text[self.position :][:20]!r} is not understood there")

    def error(self, problem: str) -> FormulaError:
        return FormulaError(
            f"The formula {{{self.text.strip()}}} cannot be read: {problem}; embeddings are "
            'written embedding:name, words in quotes, as in {0.6*embedding:cat + 0.4*"tiger"}.'
        )

    def _scaled(self, symbol: str, left: Expression) -> Operation:
        first = self.makes_vectors
        self.position += 1
        right = self.factor()
        if symbol == "*" and first and self.makes_vectors:
            raise self.error("it multiplies vectors with vectors")
        if symbol == "/" and self.makes_vectors:
            raise self.error("it divides by vectors")
        self.makes_vectors |= first
        return Operation(symbol, (left, right))

    def _nested(self, opened: re.Match[str]) -> Expression:
        if opened.lastindex == _MINUS:
            return Operation("*", (Number(-1.0), self.factor()))
        if opened.lastindex == _CALL:
            return self._call(opened.group(_CALL))
        inside = self.sum()
        self._expect(")")
        return inside

    def _words(self, quoted: str) -> Words:
        if not quoted[1:-1].strip():
            raise self.error("it has empty quotes")
        return Words(unquoted(quoted))

    def _unknown_factor(self) -> FormulaError:
        if not self._peek():
            return self.error("it ends too early")
        return self.error(f"{self.text[self.position :].split()[0]!r} is not understood")

    def _reference(self) -> Named:
        text, target = self.text, None
        if text.startswith('"', self.position) and (quoted := self._take(_QUOTED)):
            name = unquoted(quoted).strip()
            target = self.lookup(name)
        else:
            run = _NAME_RUN.match(text, self.position)
            known = leading_name(run.group(), self.lookup) if run else None
            if known is not None:
                name, length, target = known
                self.position += length
            else:
                name = self._take(_MISSING_NAME).rstrip(".")
        if not name:
            raise self.error("it has an 'embedding:' without a name behind it")
        if not text.startswith("[", self.position) or not (written := self._take(_SLICE)):
            return Named(name, target)
        return Named(name, target, *slice_bounds(written))

    def _call(self, function: str) -> Operation:
        arguments, kinds = [self.sum()], [self.makes_vectors]
        while self._peek() == ",":
            self.position += 1
            arguments.append(self.sum())
            kinds.append(self.makes_vectors)
        self._expect(")")
        least, most = FUNCTIONS[function]
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise self.error(f"{function} takes two embeddings and a share, as in slerp(a, b, 0.5)")
        meant = [True, True, False] if function == "slerp" else [True] * len(kinds)
        if kinds != meant:
            raise self.error(f"{function} has a number where vectors belong, or the reverse")
        self.makes_vectors = True
        return Operation(function, tuple(arguments))

    def _peek(self) -> str:
        """The next character behind any white space, '' at the end."""
        text, position = self.text, self.position
        if text[position : position + 1].isspace():
            position = self.position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        return text[position : position + 1]

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.position)
        if found is None:
            return ""
        self.position = found.end()
        return found.group()

    def _expect(self, symbol: str) -> None:
        if self._peek() != symbol:
            raise self.error(f"a '{symbol}' is missing")
        self.position += 1
