"""The diffusion network through ``torch.compile``, and back to plain where that fails."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ..training.shortage import is_out_of_memory

log = logging.getLogger(__name__)

FAILED = (
    "The network could not be compiled ({error}), so it is trained as it is; compiling needs a "
    "C++ compiler, and Triton on a GPU."
)


@contextlib.contextmanager
def compiled_network(
    network: torch.nn.Module, notice: Callable[[str], None], **options: Any
) -> Iterator[None]:
    """Inside, ``network`` runs compiled (``options`` go to ``torch.compile``).

    The first failure to compile is told to ``notice`` in one sentence, and from then on the
    network runs as it is. Where memory runs out, that is not such a failure.
    """
    before = network.__dict__.get("forward")
    network.forward = _falling_back(network.forward, notice, options)
    try:
        yield
    finally:
        if before is None:
            del network.__dict__["forward"]
        else:
            network.forward = before


def _falling_back(
    plain: Callable[..., Any], notice: Callable[[str], None], options: dict[str, Any]
) -> Callable[..., Any]:
    current = plain
    try:
        current = torch.compile(plain, **options)
    except RuntimeError as error:
        notice(_sentence(error))

    def forward(*arguments: Any, **named: Any) -> Any:
        nonlocal current
        if current is plain:
            return plain(*arguments, **named)
        try:
            return current(*arguments, **named)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            log.info("torch.compile failed", exc_info=True)
            current = plain
            result = plain(*arguments, **named)
            notice(_sentence(error))
            return result

    return forward


def _sentence(error: BaseException) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return FAILED.format(error=f"{type(error).__name__}: {first[:120]}".rstrip(": ."))
