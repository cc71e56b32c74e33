"""The judge: a small network that reads a picture's attributes. `python -m microworld.judge`."""

from __future__ import annotations

import argparse
import functools
import logging
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from . import archive, networks, renderer, world
from .muon import Muon

log = logging.getLogger(__name__)
WEIGHTS = Path(__file__).with_name("judge.safetensors.xz")
QUALITY = "quality"
HEADS = {**{name: len(values) for name, values in world.VALUES.items()}, QUALITY: 2}


class Judge(nn.Module):
    """Pictures [n, 3, 64, 64] in 0..1 -> logits of every attribute, and of spoilt or not."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, 4 if i == 0 else 3, stride=2, padding=1)
            for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True))
        )
        self.hidden = nn.Linear(widths[-1] * 16, 256)
        self.heads = nn.ModuleDict({name: nn.Linear(256, n) for name, n in HEADS.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        x = pictures * 2 - 1
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        x = F.relu(self.hidden(x.flatten(1)))
        return {name: head(x) for name, head in self.heads.items()}

    @torch.no_grad()
    def read(self, pictures: Tensor) -> dict[str, Tensor]:
        """The most likely value's index for every attribute, name -> [n]."""
        return {name: logits.argmax(1) for name, logits in self(pictures).items()}


@functools.cache
def trained() -> Judge:
    """The shipped judge."""
    judge = Judge()
    judge.load_state_dict(archive.unpack(WEIGHTS))
    return judge.eval()


def _targets(scenes: world.Scenes) -> dict[str, Tensor]:
    targets = {name: getattr(scenes, name) for name in world.VALUES}
    return {**targets, QUALITY: scenes.spoilt.long()}


def accuracy(judge: Judge, pictures: Tensor, scenes: world.Scenes) -> dict[str, float]:
    """Share of pictures whose attribute is read rightly; spoilt pictures count for quality only."""
    read, shares = judge.read(pictures), {}
    for name, target in _targets(scenes).items():
        right = (read[name] == target).float()
        shares[name] = float(right.mean() if name == QUALITY else right[~scenes.spoilt].mean())
    return shares


def _worn(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Slight noise and softness, so that the judge leans on what is drawn, not on clean pixels."""
    strength = 0.06 * torch.rand(len(pictures), 1, 1, 1, generator=generator)
    noisy = pictures + strength * torch.randn(pictures.shape, generator=generator)
    soft = F.avg_pool2d(noisy, 3, 1, 1, count_include_pad=False)
    chosen = torch.rand(len(pictures), 1, 1, 1, generator=generator) < 0.4
    return torch.where(chosen, soft, noisy).clamp(0, 1)


def train(autoencoder: networks.Autoencoder, *, minutes: float, batch: int, seed: int) -> Judge:
    """Cross-entropy on renderings and on their round trips through the autoencoder."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    judge = Judge()
    matrices = [p for n, p in judge.named_parameters() if p.ndim > 1 and "heads" not in n]
    others = [p for n, p in judge.named_parameters() if p.ndim == 1 or "heads" in n]
    optimisers = [Muon(matrices, lr=0.0), torch.optim.AdamW(others, lr=0.0, weight_decay=0.0)]
    started, step, share = time.monotonic(), 0, 0.0
    while share < 1:
        rate = min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * share))
        for optimiser, peak in zip(optimisers, (4e-3, 2e-3), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate
        scenes = world.draw_scenes(batch, generator, everything=step % 3 == 0, plain_style=0.4)
        pictures = renderer.render(scenes)
        if step % 2:
            with torch.no_grad():
                latents = autoencoder.encode(pictures)
                noise = 0.1 * torch.randn(latents.shape, generator=generator)
                pictures = autoencoder.decode(latents + noise).clamp(0, 1)
        logits, targets = judge(_worn(pictures, generator)), _targets(scenes)
        loss = sum(F.cross_entropy(logits[name], targets[name]) for name in HEADS)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        step += 1
        share = (time.monotonic() - started) / (60 * minutes)
        if step % 100 == 0:
            log.info("step %d, %.0f %%, loss %.3f", step, 100 * share, float(loss))
    return judge.eval()


def report(judge: Judge, autoencoder: networks.Autoencoder, count: int = 2000) -> str:
    """Accuracy on fresh renderings and on their round trips, as a table."""
    scenes = world.draw_scenes(count, torch.Generator().manual_seed(10**7), plain_style=0.55)
    pictures = renderer.render(scenes)
    with torch.no_grad():
        tripped = torch.cat(
            [autoencoder.decode(autoencoder.encode(p)).clamp(0, 1) for p in pictures.split(100)]
        )
    fresh, trip = accuracy(judge, pictures, scenes), accuracy(judge, tripped, scenes)
    lines = ["| attribute | fresh renderings | round trips |", "|---|---|---|"]
    lines += [f"| {n} | {100 * fresh[n]:.1f} % | {100 * trip[n]:.1f} % |" for n in HEADS]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, metavar="AUTOENCODER", help="train it anew")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    autoencoder = networks.Autoencoder()
    if args.train:
        autoencoder.load_state_dict(load_file(args.train))
        judge = train(autoencoder, minutes=args.minutes, batch=args.batch, seed=args.seed)
        log.info("%d bytes", archive.pack(judge.state_dict(), WEIGHTS))
    autoencoder.load_state_dict(
        {
            name.removeprefix("autoencoder."): tensor
            for name, tensor in archive.unpack().items()
            if name.startswith("autoencoder.")
        }
        if not args.train
        else load_file(args.train)
    )
    log.info("\n%s", report(trained(), autoencoder))


if __name__ == "__main__":
    main()
