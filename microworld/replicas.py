"""One-thread replicas of a trainer that average their parameters now and then (local SGD).

Two threads of one process starve each other when anything else wants a core; two processes of one
thread do not. On a GPU one process does the work.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

# glibc's allocator returns memory after every step and faults it in again; these keep it.
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(512 << 20),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that every trainer has for what it computes on."""
    parser.add_argument("--replicas", type=int, help="one a CPU core; one on a GPU")
    parser.add_argument("--device", help="cuda where there is a GPU, else cpu")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=False)


def usual_count(device: torch.device) -> int:
    """Replicas that suit a device."""
    return (os.cpu_count() or 1) if device.type == "cpu" else 1


def launch(module: str, arguments: Sequence[str], count: int) -> int:
    """Runs `python -m module arguments` as `count` replicas; returns the first non-zero status."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder, "meeting").as_uri()
        children = [
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=os.environ
                | _ALLOCATOR
                | {
                    "OMP_NUM_THREADS": "1",
                    "MICROWORLD_REPLICA": f"{rank}/{count}",
                    "MICROWORLD_MEETING": meeting,
                },
            )
            for rank in range(count)
        ]
        try:
            statuses = [child.wait() for child in children]
        finally:
            for child in children:
                child.terminate()
    return next((status for status in statuses if status), 0)


def join() -> tuple[int, int] | None:
    """(rank, count) inside a replica, None in the process that should `launch` them."""
    if "MICROWORLD_REPLICA" not in os.environ:
        return None
    rank, count = map(int, os.environ["MICROWORLD_REPLICA"].split("/"))
    torch.set_num_threads(1)
    if count > 1:
        dist.init_process_group(
            "gloo", init_method=os.environ["MICROWORLD_MEETING"], rank=rank, world_size=count
        )
    return rank, count


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replaces every tensor by its mean over the replicas."""
    if not dist.is_initialized():
        return
    flat = torch.cat([t.reshape(-1) for t in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def agree(number: float) -> float:
    """The largest of the replicas' numbers (so that all stop at the same step)."""
    if not dist.is_initialized():
        return number
    shared = torch.tensor(number, dtype=torch.float64)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return float(shared)
