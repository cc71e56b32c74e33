"""Trains the narrow autoencoder on fresh renderings: `python -m microworld.train_autoencoder`."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import networks, renderer, replicas, world
from .muon import Muon

log = logging.getLogger(__name__)


def reconstruction_decibels(autoencoder: networks.Autoencoder, pictures: Tensor) -> float:
    """Peak signal to noise ratio of the round trip, in dB."""
    with torch.no_grad():
        decoded = autoencoder.decode(autoencoder.encode(pictures)).clamp(0, 1)
    return -10 * math.log10((decoded - pictures).square().mean())


def train(
    out: Path, *, seconds: float, batch: int, seed: int, rank: int, start: Path | None
) -> None:
    """L2 + L1 on the pictures, with noise on latents that are held near unit variance.

    The noise makes neighbouring latents decode alike, so that a sampler's small errors stay small.
    """
    torch.manual_seed(seed)
    autoencoder = networks.Autoencoder()
    generator = torch.Generator().manual_seed(seed * 1000 + rank)
    if start is not None:
        autoencoder.load_state_dict(load_file(start))
    parameters = list(autoencoder.parameters())
    matrices = [p for p in parameters if p.ndim > 1 and min(p.shape[:2]) > 4]
    others = [p for p in parameters if p.ndim == 1 or min(p.shape[:2]) <= 4]
    optimisers = [Muon(matrices, lr=0.0), torch.optim.AdamW(others, lr=0.0, weight_decay=0.0)]
    probe = renderer.render(world.draw_scenes(128, torch.Generator().manual_seed(10**6)))
    started, step, share = time.monotonic(), 0, 0.0
    while share < 1:
        warm = min(1.0, (step + 1) / 100)
        rate = warm * 0.5 * (1 + math.cos(math.pi * share))
        for optimiser, peak in zip(optimisers, (6e-3, 3e-3), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate
        scenes = world.draw_scenes(batch, generator, everything=step % 4 == 0, plain_style=0.4)
        pictures, cover = renderer.render_with_cover(scenes)
        latents = autoencoder.encode(pictures)
        noise = torch.randn(latents.shape, generator=generator)
        error = autoencoder.decode(latents + 0.05 * noise) - pictures
        mean, variance = latents.mean((0, 2, 3)), latents.var((0, 2, 3))
        weight = 1 + 4 * cover
        loss = (weight * error.square()).mean() + 0.05 * (weight * error.abs()).mean()
        loss = loss + 0.003 * (mean.square() + variance.clamp_min(1e-4).log().square()).mean()
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser in optimisers:
            optimiser.step()
        step += 1
        if step % 10 == 0:
            replicas.average(parameters)
            share = replicas.agree((time.monotonic() - started) / seconds)
        if step % 100 == 0 and rank == 0:
            decibels = reconstruction_decibels(autoencoder, probe)
            log.info("step %d, %.0f %%, %.2f dB", step, 100 * share, decibels)
            save_file(autoencoder.state_dict(), out)
    if rank == 0:
        save_file(autoencoder.state_dict(), out)
        log.info("finished: %.2f dB", reconstruction_decibels(autoencoder, probe))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--batch", type=int, default=16, help="pictures a step and replica")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="go on from these weights")
    parser.add_argument("--replicas", type=int, default=os.cpu_count())
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    replica = replicas.join()
    if replica is None:
        sys.exit(replicas.launch("microworld.train_autoencoder", sys.argv[1:], args.replicas))
    train(
        args.out,
        seconds=60 * args.minutes,
        batch=args.batch,
        seed=args.seed,
        rank=replica[0],
        start=args.start,
    )


if __name__ == "__main__":
    main()
