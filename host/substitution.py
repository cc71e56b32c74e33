"""Other tensors in the place of weights for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def substituted(
    root: torch.nn.Module, substitute: Callable[[torch.nn.Module, torch.Tensor], Any]
) -> Iterator[None]:
    """Put other tensors in the place of weights; afterwards the very same ones are back.

    ``substitute`` gives a tensor or None for "leave it". A weight that the host itself has
    replaced or moved meanwhile stays as the host left it.
    """
    swapped: list[tuple[dict[str, Any], str, torch.Tensor, torch.Tensor, int]] = []
    try:
        for module in root.modules():
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is None or not _is_plain(tensor):
                        continue
                    other = substitute(module, tensor)
                    if other is not None:
                        table[name] = other
                        swapped.append((table, name, tensor, other, other.data_ptr()))
        yield
    finally:
        for table, name, tensor, other, place in reversed(swapped):
            if table.get(name) is other and other.data_ptr() == place:
                table[name] = tensor


def _is_plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
