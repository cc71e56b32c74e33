"""Prompts as token rows with the places of the vectors, and the check that all survived."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch

PLACEHOLDER = "{}"


class PromptError(ValueError):
    """A prompt can't carry the vectors; the message says which and what to do."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """The place in a token row where vector number ``index`` goes."""

    index: int


TokenItem = int | Slot | torch.Tensor


@dataclasses.dataclass(frozen=True)
class TokenRow:
    """One encoder's window: token ids, slots, and fixed vectors ``[d]`` of other embeddings."""

    items: tuple[TokenItem, ...]

    @property
    def slots(self) -> tuple[int, ...]:
        """The vector numbers in this row, in order of position."""
        return tuple(item.index for item in self.items if isinstance(item, Slot))

    def filled(self, vectors: torch.Tensor) -> list[int | torch.Tensor]:
        """The row with every slot replaced by its vector of ``vectors`` ``[n, d]``."""
        return [vectors[item.index] if isinstance(item, Slot) else item for item in self.items]


PromptTokens = Mapping[str, TokenRow]


def build_row(
    segments: Sequence[Sequence[int | torch.Tensor]],
    num_vectors: int,
    *,
    start: int,
    end: int,
    pad: int,
    window: int,
) -> TokenRow:
    """``start s0 V s1 V ... end pad pad`` in ``window`` places, where V is all the vectors.

    ``segments`` are the token ids between the placeholders. What doesn't fit before the end
    token is cut, as the text encoder's window would.
    """
    body: list[TokenItem] = []
    for number, segment in enumerate(segments):
        if number:
            body += [Slot(index) for index in range(num_vectors)]
        body += segment
    items: list[TokenItem] = [start, *body[: window - 2], end]
    items += [pad] * (window - len(items))
    return TokenRow(tuple(items))


def check_survival(prompt: str, tokens: PromptTokens, num_vectors: int) -> None:
    """Raise PromptError unless every vector is in the row of every encoder."""
    for key, row in tokens.items():
        present = set(row.slots)
        if PLACEHOLDER not in prompt:
            raise PromptError(f"The prompt {prompt!r} doesn't contain the word to learn ({{}}).")
        if len(present) < num_vectors:
            room = len(row.items) - 2
            raise PromptError(
                f"Only {len(present)} of {num_vectors} vectors fit into the {room} places that "
                f"{key} has for the prompt {prompt!r}; lower num_vectors or shorten the prompt."
            )


def renumbered(row: TokenRow, concepts: Sequence[int], num_vectors: int) -> TokenRow:
    """The row whose j-th run of ``num_vectors`` slots belongs to concept ``concepts[j]``.

    Concept i owns the vectors ``i num_vectors .. (i + 1) num_vectors``.
    """
    items: list[TokenItem] = []
    passed = 0
    for item in row.items:
        if isinstance(item, Slot):
            concept = concepts[passed // num_vectors]
            items.append(Slot(concept * num_vectors + item.index))
            passed += 1
        else:
            items.append(item)
    return TokenRow(tuple(items))
