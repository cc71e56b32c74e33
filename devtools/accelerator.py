"""Whether this machine has a device that ComfyUI would use instead of the CPU."""

from __future__ import annotations


def present() -> bool:
    """Asked of torch, in the Python that runs ComfyUI."""
    import torch

    xpu = getattr(torch, "xpu", None)
    return (
        torch.cuda.is_available()
        or torch.backends.mps.is_available()
        or (xpu is not None and xpu.is_available())
    )
