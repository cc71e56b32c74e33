"""What the microworld's trainers compute on: the device, its fast precision, compiled or not."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)

_PROCESSOR = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Compute:
    """A device, and how to compute on it. `autocast` is None where float32 is as fast."""

    device: torch.device
    autocast: torch.dtype | None = None
    compiled: bool = False

    @classmethod
    def chosen(cls, *, device: str | None = None, compiled: bool = False) -> Compute:
        """A GPU where there is one; bfloat16 there, and on a CPU whose matrix unit (AMX) has it.

        Compiling takes a C++ compiler on a CPU; without one that is said and left out.
        """
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        fast = where.type == "cuda" or has_amx()
        has_compiler = shutil.which("g++") or shutil.which("clang++")
        if compiled and where.type == "cpu" and not has_compiler:
            log.warning("There is no C++ compiler here, so nothing is compiled.")
            compiled = False
        return cls(where, torch.bfloat16 if fast else None, compiled)

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which a loss is computed."""
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.autocast)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function compiled for fixed shapes, or as it is."""
        return torch.compile(function, dynamic=False) if self.compiled else function


def has_amx(processor: Path = _PROCESSOR) -> bool:
    """True on an x86 CPU that multiplies bfloat16 matrices in AMX tiles, as Linux tells it."""
    try:
        words = processor.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return False
    return "amx_bf16" in words
