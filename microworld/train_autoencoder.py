"""Trains the narrow autoencoder on fresh renderings: `python -m microworld.train_autoencoder`."""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import networks, renderer, replicas, trainer_state, world
from .compute import Compute
from .muon import Muon

log = logging.getLogger(__name__)


def reconstruction_decibels(autoencoder: networks.Autoencoder, pictures: Tensor) -> float:
    """Peak signal to noise ratio of the round trip, in dB."""
    with torch.no_grad():
        decoded = autoencoder.decode(autoencoder.encode(pictures)).clamp(0, 1)
    return -10 * math.log10((decoded - pictures).square().mean())


def train(
    out: Path,
    *,
    seconds: float,
    batch: int,
    seed: int,
    rank: int,
    start: Path | None,
    compute: Compute,
) -> None:
    """L2 + L1 on the pictures, with noise on latents that are held near unit variance.

    The noise makes neighbouring latents decode alike, so that a sampler's small errors stay small.
    """
    torch.manual_seed(seed)
    autoencoder = networks.Autoencoder()
    if start is not None:
        autoencoder.load_state_dict(load_file(start))
    autoencoder.to(compute.device)
    encode, decode = compute.compile(autoencoder.encode), compute.compile(autoencoder.decode)
    parameters = list(autoencoder.parameters())
    matrices = [p for p in parameters if p.ndim > 1 and min(p.shape[:2]) > 4]
    others = [p for p in parameters if p.ndim == 1 or min(p.shape[:2]) <= 4]
    optimisers = [Muon(matrices, lr=0.0), torch.optim.AdamW(others, lr=0.0, weight_decay=0.0)]
    state_file = out.with_suffix(f".state-{rank}.pt")
    step, spent = trainer_state.restore(state_file, autoencoder, optimisers)
    generator = torch.Generator().manual_seed(seed * 1000 + 7 * step + rank)
    probe = renderer.render(world.draw_scenes(128, torch.Generator().manual_seed(10**6)))
    probe = probe.to(compute.device)
    started, share = time.process_time() - spent, spent / seconds
    while share < 1:
        warm = min(1.0, (step + 1) / 100)
        rate = warm * 0.5 * (1 + math.cos(math.pi * share))
        for optimiser, peak in zip(optimisers, (6e-3, 3e-3), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate
        scenes = world.draw_scenes(batch, generator, everything=step % 4 == 0, plain_style=0.4)
        pictures, cover = (each.to(compute.device) for each in renderer.render_with_cover(scenes))
        with compute.precision():
            latents = encode(pictures)
            noise = torch.randn(latents.shape, generator=generator).to(compute.device)
            error = decode(latents + 0.05 * noise).float() - pictures
        latents = latents.float()
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
            spent = time.process_time() - started
            share = replicas.agree(spent / seconds)
        if step % 100 == 0 or share >= 1:
            trainer_state.save(state_file, autoencoder, optimisers, step=step, spent=spent)
            if rank == 0:
                decibels = reconstruction_decibels(autoencoder, probe)
                log.info("step %d, %.0f %%, %.2f dB", step, 100 * min(share, 1), decibels)
                save_file(autoencoder.state_dict(), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the file to write; a run that was stopped goes on")
    parser.add_argument(
        "--minutes", type=float, default=15, help="of a replica's own computing time"
    )
    parser.add_argument("--batch", type=int, default=16, help="pictures a step and replica")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="begin with these weights")
    replicas.add_arguments(parser)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    compute = Compute.chosen(device=args.device, compiled=args.compile)
    replica = replicas.join()
    if replica is None:
        count = args.replicas or replicas.usual_count(compute.device)
        sys.exit(replicas.launch("microworld.train_autoencoder", sys.argv[1:], count))
    train(
        args.out,
        seconds=60 * args.minutes,
        batch=args.batch,
        seed=args.seed,
        rank=replica[0],
        start=args.start,
        compute=compute,
    )


if __name__ == "__main__":
    main()
