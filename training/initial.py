"""The vectors a run starts from, made of the initializer text's own token vectors."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .protocols import TextEncoder
from .sphere import EPSILON, retract, tangent, unit


class InitializerError(ValueError):
    """The initializer text gives nothing to start from."""


def initial_vectors(
    encoder: TextEncoder,
    text: str,
    num_vectors: int,
    spread: float,
    generator: torch.Generator,
) -> dict[str, torch.Tensor]:
    """``{encoder key: [n, d]}`` at each encoder's vocabulary norm.

    With as many tokens as vectors each vector starts as a token; with more tokens neighbours
    share a vector; with fewer they are repeated, copies turned by ``spread`` radians. Raises
    InitializerError for a text of zero tokens.
    """
    found = encoder.token_vectors(text)
    check_initializer(found, text)
    return {
        key: _fit(rows, num_vectors, spread, generator) * encoder.vocabulary_norm(key)
        for key, rows in found.items()
    }


def vectors_like(
    rows: Mapping[str, torch.Tensor],
    encoder: TextEncoder,
    num_vectors: int,
    spread: float,
    generator: torch.Generator,
    *,
    keep_norms: bool = False,
) -> dict[str, torch.Tensor]:
    """``{encoder key: [n, d]}`` from an embedding's vectors, cycled or joined as tokens are.

    At each encoder's vocabulary norm, or with ``keep_norms`` and as many vectors as asked for as
    they are. Raises InitializerError where an encoder has none of its own width.
    """
    found = {}
    for key in encoder.keys:
        given = rows.get(key)
        width = int(encoder.token_vectors("a")[key].shape[1])
        if given is None or given.ndim != 2 or given.shape[0] == 0 or given.shape[1] != width:
            has = ", ".join(f"{name} {list(each.shape)}" for name, each in rows.items())
            raise InitializerError(
                f"The initializer embedding ({has}) has no vectors of {width} numbers for {key}; "
                "use one that was made for this kind of model."
            )
        _check_directions(given, f"The initializer embedding's vectors for {key}")
        if keep_norms and given.shape[0] == num_vectors:
            found[key] = given.detach().clone().float()
        else:
            fitted = _fit(given.detach().cpu(), num_vectors, spread, generator)
            found[key] = fitted * encoder.vocabulary_norm(key)
    return found


def check_initializer(token_vectors: Mapping[str, torch.Tensor], text: str) -> None:
    """Raise InitializerError if ``text`` has no tokens, or empty ones, in some encoder."""
    for key, rows in token_vectors.items():
        if rows.shape[0] == 0:
            raise InitializerError(
                f"The initializer text {text!r} has no tokens in {key}; give a word that comes "
                "near what the pictures show, such as 'dog' or 'painting'."
            )
        _check_directions(rows, f"The vectors of the initializer text {text!r} in {key}")


def _check_directions(rows: torch.Tensor, what: str) -> None:
    """Raise InitializerError for rows that are zero or no numbers: they point nowhere."""
    lengths = torch.linalg.vector_norm(rows.float(), dim=-1)
    if not bool((torch.isfinite(lengths) & (lengths > EPSILON)).all()):
        raise InitializerError(f"{what} hold one that is zero or no number; use another start.")


def _fit(rows: torch.Tensor, count: int, spread: float, generator: torch.Generator) -> torch.Tensor:
    directions = unit(rows.float())
    tokens = directions.shape[0]
    if tokens >= count:
        groups = torch.tensor_split(directions, count)
        return unit(torch.stack([group.mean(dim=0) for group in groups]))
    repeated = directions[torch.arange(count) % tokens]
    noise = torch.randn(repeated.shape, generator=generator).to(repeated.device)
    turned = retract(repeated, spread * unit(tangent(noise, repeated)))
    first = (torch.arange(count) < tokens).view(-1, 1).to(repeated.device)
    return torch.where(first, repeated, turned)
