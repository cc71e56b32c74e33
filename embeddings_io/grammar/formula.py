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
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..names import EmbeddingError
from ..references import Lookup, leading_name

FUNCTIONS = {"mean": (1, None), "slerp": (3, 3)}
"""How many arguments each takes at least and at most."""

QUOTED = r'"(?:[^"\\]|\\.)*"'
SLICE = r"\[\s*(?:-?\d+|-?\d*\s*:\s*-?\d*)\s*\]"

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_QUOTED = re.compile(QUOTED)
_SLICE = re.compile(SLICE)
_PREFIX = re.compile(r"(?:embedding:\s*)+")
_NAME_RUN = re.compile(r"(?:\\[()]|[^\s()\[\]{}<>*,\"])+")
_MISSING_NAME = re.compile(r"[\w\-./+]*")
_CALL = re.compile(r"(mean|slerp)\s*\(")
_STARTS_NUMBER = frozenset("0123456789.")
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
    if not makes_vectors(expression):
        raise reader.error("it makes a number, not vectors")
    return expression


def makes_vectors(expression: Expression) -> bool:
    """False for numbers and for what is made of numbers alone."""
    if isinstance(expression, Operation):
        return any(makes_vectors(operand) for operand in expression.operands)
    return not isinstance(expression, Number)


def leaves(expression: Expression) -> Iterator[Number | Words | Named]:
    """The numbers, words and embeddings of an expression, from left to right."""
    if isinstance(expression, Operation):
        for operand in expression.operands:
            yield from leaves(operand)
    else:
        yield expression


def slice_bounds(written: str) -> tuple[int | None, int | None]:
    """'[1:3]' gives (1, 3), '[2]' gives (2, 3), '[-1]' the last vector, '[:]' everything."""
    inside = written.strip()[1:-1]
    first, colon, last = (part.strip() for part in inside.partition(":"))
    if not colon:
        index = int(first)
        return index, (index + 1 if index != -1 else None)
    return int(first) if first else 0, int(last) if last else None


def unquoted(written: str) -> str:
    """The text between quotes, where a backslash protects a quote or a backslash."""
    return re.sub(r'\\(["\\])', r"\1", written[1:-1])


class _Reader:
    def __init__(self, text: str, lookup: Lookup) -> None:
        self.text = text
        self.lookup = lookup
        self.position = 0
        self.depth = 0

    def sum(self) -> Expression:
        return self._chain("+-", self.product)

    def product(self) -> Expression:
        return self._chain("*/", self.factor)

    def factor(self) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"it is nested more than {DEEPEST} deep")
        try:
            return self._factor()
        finally:
            self.depth -= 1

    def end(self) -> None:
        if self._peek():
            raise self.error(f"{self.text[self.position :][:20]!r} is not understood there")

    def error(self, problem: str) -> FormulaError:
        return FormulaError(
            f"The formula {{{self.text.strip()}}} cannot be read: {problem}; embeddings are "
            'written embedding:name, words in quotes, as in {0.6*embedding:cat + 0.4*"tiger"}.'
        )

    def _chain(self, symbols: str, part: Callable[[], Expression]) -> Expression:
        found: Expression = part()
        while (symbol := self._peek()) and symbol in symbols:
            self.position += 1
            found = self._combined(symbol, found, part())
        return found

    def _combined(self, symbol: str, left: Expression, right: Expression) -> Expression:
        kinds = makes_vectors(left), makes_vectors(right)
        if symbol in "+-" and kinds[0] != kinds[1]:
            raise self.error("it adds a number to vectors")
        if symbol == "*" and all(kinds):
            raise self.error("it multiplies vectors with vectors")
        if symbol == "/" and kinds[1]:
            raise self.error("it divides by vectors")
        return Operation(symbol, (left, right))

    def _factor(self) -> Expression:
        symbol = self._peek()
        if symbol == "-":
            self.position += 1
            return Operation("*", (Number(-1.0), self.factor()))
        if symbol == "(":
            self.position += 1
            inside = self.sum()
            self._expect(")")
            return inside
        if symbol in _STARTS_NUMBER and (number := self._take(_NUMBER)):
            return Number(float(number))
        if symbol == '"' and (words := self._take(_QUOTED)):
            if not words[1:-1].strip():
                raise self.error("it has empty quotes")
            return Words(unquoted(words))
        if symbol == "e" and self._take(_PREFIX):
            return self._reference()
        if called := _CALL.match(self.text, self.position):
            self.position = called.end()
            return self._call(called.group(1))
        if not symbol:
            raise self.error("it ends too early")
        raise self.error(f"{self.text[self.position :].split()[0]!r} is not understood")

    def _reference(self) -> Named:
        quoted = self._take(_QUOTED)
        if quoted:
            name = unquoted(quoted).strip()
            target = self.lookup(name)
        else:
            run = _NAME_RUN.match(self.text, self.position)
            known = leading_name(run.group(), self.lookup) if run else None
            if known is not None:
                name, length, target = known
                self.position += length
            else:
                name, target = self._take(_MISSING_NAME).rstrip("."), None
        if not name.strip():
            raise self.error("it has an 'embedding:' without a name behind it")
        written = _SLICE.match(self.text, self.position)
        if written is None:
            return Named(name, target)
        self.position = written.end()
        return Named(name, target, *slice_bounds(written.group()))

    def _call(self, function: str) -> Operation:
        arguments = [self.sum()]
        while self._peek() == ",":
            self.position += 1
            arguments.append(self.sum())
        self._expect(")")
        least, most = FUNCTIONS[function]
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise self.error(f"{function} takes two embeddings and a share, as in slerp(a, b, 0.5)")
        vectors = arguments[:2] if function == "slerp" else arguments
        if not all(map(makes_vectors, vectors)) or makes_vectors(arguments[-1]) == (
            function == "slerp"
        ):
            raise self.error(f"{function} has a number where vectors belong, or the reverse")
        return Operation(function, tuple(arguments))

    def _peek(self) -> str:
        text, position = self.text, self.position
        while text[position : position + 1].isspace():
            position += 1
        self.position = position
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
