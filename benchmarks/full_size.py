"""Steps at full size with random weights: seconds, memory and FLOPs, each loop in its own process.

    python -m benchmarks.full_size COMFYUI ours|diffusers sd15|sdxl SIDE BATCH STEPS

prints one JSON object, for float32 weights; SIDE is the picture's, in pixels.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from .full_size_networks import NETWORKS, Network

LOOPS = ("diffusers", "ours")
GIB = 2**30
RATE_SIDE = 2048


@dataclass(frozen=True)
class FullSize:
    """One loop's steps. ``peak`` is the memory in GiB, ``memory`` what of it is beyond the models.

    ``caching`` is the time for the VAE, once a run, where the loop keeps its results. ``flops``
    are those of a step and ``rate`` the machine's own in matrix products.
    """

    loop: str
    seconds: float
    cpu_seconds: float
    memory: float
    peak: float
    caching: float
    flops: float
    rate: float


def measure(comfyui: Path, name: str, side: int, batch: int, steps: int) -> list[FullSize]:
    """Both loops, one after the other; raises RuntimeError with what a failed one said."""
    found = []
    for loop in LOOPS:
        command = [sys.executable, "-m", "benchmarks.full_size", str(comfyui), loop, name]
        command += [str(each) for each in (side, batch, steps)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{loop} on {name} at {side} failed: {result.stderr[-600:]}")
        found.append(FullSize(**json.loads(result.stdout.splitlines()[-1])))
    return found


def measured(comfyui: Path, *, quick: bool = False) -> str:
    """Every family and size that fits into the memory that is free, as a table, with what doesn't.

    With ``quick`` one step of the smallest.
    """
    sizes = [
        (name, network, side, batch)
        for name, network in NETWORKS.items()
        for side, batch in network.sizes
    ]
    found, skipped = [], []
    for name, network, side, batch in sizes[:1] if quick else sizes:
        title, free = f"{network.title}, {side} x {side}, batch {batch}", free_gib()
        if free < network.needed:
            skipped.append(
                f"{title}: skipped, {network.needed:.0f} GiB are needed and {free:.1f} are free."
            )
            continue
        found.append((title, measure(comfyui, name, side, batch, 1 if quick else 3)))
    return "\n\n".join([table(found), *skipped])


def free_gib() -> float:
    """Memory that a process may still take."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / GIB
    return 0.0


def table(cases: Sequence[tuple[str, list[FullSize]]]) -> str:
    """Markdown, a line for every loop; our lines bear the ratios."""
    lines = [
        "| network | loop | s a step | CPU s | peak, GiB | extra memory, GiB | TFLOP a step | "
        "over the needed | share of the matmul rate | time | memory |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (theirs, ours) in cases:
        for each in (theirs, ours):
            ratios = " | "
            if each is ours:
                share = ours.seconds / theirs.seconds
                ratios = f"{share:.2f} | {ours.memory / theirs.memory:.2f}"
            lines.append(
                f"| {name} | {each.loop} | {each.seconds:.2f} | {each.cpu_seconds:.2f} "
                f"| {each.peak:.2f} | {each.memory:.2f} "
                f"| {each.flops / 1e12:.3f} | {each.flops / ours.flops:.2f} "
                f"| {each.flops / each.seconds / each.rate:.0%} | {ratios} |"
            )
    lines += [
        "",
        "Needed are both networks forward, and back through the network to the text and through "
        "the text encoder to the vectors, which is what ours computes. All weights are float32. "
        "Extra memory: the peak beyond the loaded models; ours includes the pictures' one way "
        "through the VAE.",
    ]
    return "\n".join(lines)


def _child(comfyui: Path, loop: str, network: Network, *numbers: int) -> FullSize:
    from . import full_size_diffusers, full_size_ours

    side, batch, steps = numbers
    load = {"ours": full_size_ours.load, "diffusers": full_size_diffusers.load}[loop]
    torch.manual_seed(0)
    pictures = torch.rand(batch, side, side, 3)
    rate = _matmul_rate()
    started = load(comfyui, network)
    gc.collect()
    settled = _status("VmRSS")
    _reset_peak()
    prepared, caching = _timed(lambda: started(pictures))
    prepared.step()
    before = time.perf_counter(), time.process_time()
    for _ in range(steps):
        prepared.step()
    seconds = (time.perf_counter() - before[0]) / steps
    spent = (time.process_time() - before[1]) / steps
    peak = _status("VmHWM")
    flops = _counted(prepared.step)
    return FullSize(loop, seconds, spent, (peak - settled) / GIB, peak / GIB, caching, flops, rate)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    before = time.perf_counter()
    return call(), time.perf_counter() - before


def _counted(step: Callable[[], Any]) -> float:
    """FLOPs of a step: twice its multiplications.

    Attention is made of plain products meanwhile, whose memory no real step takes.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        step()
    return float(counter.get_total_flops())


def _matmul_rate() -> float:
    """FLOP/s of the best of three large matrix products."""
    a = torch.rand(RATE_SIDE, RATE_SIDE)
    b = torch.rand(RATE_SIDE, RATE_SIDE)
    torch.mm(a, b)
    return 2 * RATE_SIDE**3 / min(_timed(lambda: torch.mm(a, b))[1] for _ in range(3))


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}.")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def main(arguments: Sequence[str]) -> int:
    os.environ.setdefault("TQDM_DISABLE", "1")
    comfyui, loop, name, *numbers = arguments
    found = _child(Path(comfyui), loop, NETWORKS[name], *(int(each) for each in numbers))
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
