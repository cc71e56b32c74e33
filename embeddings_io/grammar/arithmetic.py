"""Calculates a parsed formula for one text encoder.

Sums and differences go row by row; a single vector is added to every row of a longer operand.
slerp turns each row of the first towards the second's by a share of the angle between them
(Shoemake, 1985) and goes in a straight line between their lengths.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from .formula import Expression, FormulaError, Named, Number, Operation, Words

VectorsOf = Callable[[Named], "torch.Tensor | None"]
"""The float32 rows [n, d] of an embedding in this encoder, or None where it has none."""

WordsOf = Callable[[str], torch.Tensor]
"""The token table's rows [n, d] of a text."""


def evaluate(
    expression: Expression, vectors_of: VectorsOf, words_of: WordsOf
) -> torch.Tensor | None:
    """The rows [n, d] that an expression makes, None where an embedding in it has no vectors here.

    Raises FormulaError for operands of several, different lengths, an empty slice and a division
    by zero.
    """
    if isinstance(expression, Named):
        rows = vectors_of(expression)
        return None if rows is None else sliced(rows, expression)
    if isinstance(expression, Words):
        return words_of(expression.text)
    if isinstance(expression, Number):
        raise FormulaError(f"The formula makes the number {expression.value:g}, not vectors.")
    if expression.symbol in "*/":
        return _scaled(expression, vectors_of, words_of)
    share = number(expression.operands[2]) if expression.symbol == "slerp" else 0.0
    operands = expression.operands[:2] if expression.symbol == "slerp" else expression.operands
    rows_of = [evaluate(operand, vectors_of, words_of) for operand in operands]
    present = [rows for rows in rows_of if rows is not None]
    if len(present) != len(rows_of):
        return None
    if expression.symbol == "mean" and len(present) == 1:
        return present[0].mean(dim=0, keepdim=True)
    equal = _equally_long(present)
    match expression.symbol:
        case "+":
            return equal[0] + equal[1]
        case "-":
            return equal[0] - equal[1]
        case "mean":
            return torch.stack(equal).mean(dim=0)
    return slerp(equal[0], equal[1], share)


def number(expression: Expression) -> float:
    """The value of an expression of numbers alone."""
    if isinstance(expression, Number):
        return expression.value
    if not isinstance(expression, Operation):
        raise FormulaError("The formula has vectors where a number belongs.")
    values = [number(operand) for operand in expression.operands]
    match expression.symbol:
        case "+":
            return values[0] + values[1]
        case "-":
            return values[0] - values[1]
        case "*":
            return values[0] * values[1]
        case "/":
            return values[0] / _divisor(values[1])
    raise FormulaError(f"'{expression.symbol}' takes vectors, not numbers alone.")


def sliced(rows: torch.Tensor, named: Named) -> torch.Tensor:
    """The rows of a slice. Raises FormulaError where it is empty."""
    if not named.is_sliced:
        return rows
    part = rows[named.first : named.last]
    if not len(part):
        raise FormulaError(
            f"The slice of embedding:{named.name} is empty: it has {len(rows)} "
            f"vector{'s' if len(rows) != 1 else ''}, counted from 0."
        )
    return part


def slerp(a: torch.Tensor, b: torch.Tensor, share: float) -> torch.Tensor:
    """Row by row from `a` (share 0) to `b` (share 1) along the sphere; [n, d] each."""
    norms = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    units = [rows / norm.clamp_min(1e-12) for rows, norm in zip((a, b), norms, strict=True)]
    angle = (units[0] * units[1]).sum(dim=1, keepdim=True).clamp(-1.0, 1.0).acos()
    sine = angle.sin()
    turned = ((1 - share) * angle).sin() * units[0] + (share * angle).sin() * units[1]
    direction = torch.where(sine > 1e-4, turned / sine.clamp_min(1e-4), units[0])
    norm = (1 - share) * norms[0] + share * norms[1]
    straight = (1 - share) * a + share * b
    return torch.where(sine > 1e-4, direction * norm, straight)


def _scaled(expression: Operation, vectors_of: VectorsOf, words_of: WordsOf) -> torch.Tensor | None:
    left, right = expression.operands
    if expression.symbol == "/":
        rows = evaluate(left, vectors_of, words_of)
        return None if rows is None else rows / _divisor(number(right))
    factor, vectors = (left, right) if _is_number(left) else (right, left)
    rows = evaluate(vectors, vectors_of, words_of)
    return None if rows is None else rows * number(factor)


def _is_number(expression: Expression) -> bool:
    if isinstance(expression, Operation):
        return all(map(_is_number, expression.operands))
    return isinstance(expression, Number)


def _divisor(value: float) -> float:
    if value == 0:
        raise FormulaError("The formula divides by zero.")
    return value


def _equally_long(operands: list[torch.Tensor]) -> list[torch.Tensor]:
    longest = max(len(rows) for rows in operands)
    if any(len(rows) not in (1, longest) for rows in operands):
        counts = " and ".join(str(len(rows)) for rows in operands)
        raise FormulaError(
            f"The formula joins {counts} vectors; take equally many, one, or a slice such as "
            "embedding:name[0:2]."
        )
    return [rows.expand(longest, -1) for rows in operands]
