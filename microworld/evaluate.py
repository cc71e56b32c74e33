"""Measures the shipped world with ComfyUI's KSampler: `python -m microworld.evaluate COMFYUI`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from . import captions, world
from .expand import expand
from .judge import accuracy, trained
from .narrowing import narrow
from .sampler import GUIDANCE, STEPS, Sampler

FLOORS = {
    "plain": {"shape": 0.93, "colour": 0.94, "background": 0.97, "texture": 0.95, "position": 0.80},
    "all styles": {"colour": 0.88},
}


def seen_scenes(count: int, *, plain: bool, seed: int) -> world.Scenes:
    """Scenes such as those trained on: photos only, or the four styles equally often."""
    generator = torch.Generator().manual_seed(seed)
    scenes = world.draw_scenes(count, generator, plain_style=1.0 if plain else 0.0)
    scenes.spoilt[:] = False
    return scenes


def sampler_of_all_words(comfyui: Path, folder: Path, *, fast: bool = True) -> Sampler:
    """The world with the amputated words in it; `fast` as in `learning.Learner`."""
    checkpoint = expand(folder / "microworld.safetensors", amputated=False)
    sampler = Sampler(comfyui, checkpoint)
    if fast:
        narrow(sampler.model, sampler.clip)
    return sampler


def measure(sampler: Sampler, count: int) -> dict[str, dict[str, float]]:
    """Share of samples in which the judge reads what the caption says, by set and attribute."""
    judge, shares = trained(), {}
    for name, plain in (("plain", True), ("all styles", False)):
        scenes = seen_scenes(count, plain=plain, seed=77 + plain)
        prompts = [captions.plain_caption(captions.words_of(scenes, i)) for i in range(count)]
        shares[name] = accuracy(judge, sampler.pictures(prompts, seed=1234), scenes)
    return shares


def table(shares: dict[str, dict[str, float]], count: int) -> str:
    """A Markdown table of the shares beside their floors."""
    lines = [
        f"{count} samples a column, {STEPS} steps, CFG {GUIDANCE:g}.",
        "",
        "| attribute | " + " | ".join(f"{name} | floor" for name in shares) + " |",
        "|---" * (1 + 2 * len(shares)) + "|",
    ]
    for attribute in next(iter(shares.values())):
        cells = []
        for name, found in shares.items():
            floor = FLOORS[name].get(attribute)
            verdict = ""
            if floor is not None:
                word = "met" if found[attribute] >= floor else "MISSED"
                verdict = f"{100 * floor:.0f} % {word}"
            cells += [f"{100 * found[attribute]:.1f} %", verdict]
        lines.append(f"| {attribute} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comfyui", type=Path, help="ComfyUI's folder")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--wide", action="store_true", help="sample the full-size networks")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sampler = sampler_of_all_words(args.comfyui, Path(folder), fast=not args.wide)
        shares = measure(sampler, args.count)
    print(table(shares, args.count))


if __name__ == "__main__":
    main()
