"""Is memory what an error is about? Every device and allocator says so in its own way."""

from __future__ import annotations

import torch

CUDA_MEMORY_ALLOCATION = 2
"""cudaErrorMemoryAllocation, and the same number in HIP."""
SAID_OF_MEMORY = (
    "out of memory",  # CUDA, HIP, XPU, MPS
    "defaultcpuallocator: can't allocate memory",  # Linux, macOS
    "defaultcpuallocator: not enough memory",  # Windows
    "bad_alloc",  # the C++ library
    "bad allocation",  # Microsoft's
    "alloc_failed",  # cuBLAS, cuDNN
    "not enough gpu video memory",  # DirectML
)
"""Words of a RuntimeError, in small letters."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on whatever device.

    True for torch's OutOfMemoryError, Python's and numpy's MemoryError, and the RuntimeErrors
    (AcceleratorErrors among them) of allocators that have no class of their own.
    """
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    accelerator = isinstance(error, getattr(torch, "AcceleratorError", ()))
    if accelerator and getattr(error, "error_code", None) == CUDA_MEMORY_ALLOCATION:
        return True
    told = str(error).lower()
    return any(words in told for words in SAID_OF_MEMORY)
