"""The judge: a small network that reads a picture's attributes. `python -m microworld.judge`."""

from __future__ import annotations

import argparse
import functools
import itertools
import logging
import math
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
            for i, (a, b) in enumerate(itertools.pairwise(widths))
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


def _round_trips(
    autoencoder: networks.Autoencoder, count: int, generator: torch.Generator
) -> tuple[Tensor, world.Scenes]:
    """Decoded latents, slightly noisy as a sampler's are, and the scenes they came from."""
    scenes = world.draw_scenes(count, generator, everything=True)
    decoded = []
    with torch.no_grad():
        for start in range(0, count, 128):
            pictures = renderer.render(scenes[slice(start, start + 128)])
            latents = autoencoder.encode(pictures)
            noise = torch.randn(latents.shape, generator=generator)
            decoded.append(autoencoder.decode(latents + 0.1 * noise).clamp(0, 1))
    return torch.cat(decoded), scenes


def train(
    autoencoder: networks.Autoencoder, *, steps: int, batch: int, trips: int, seed: int
) -> Judge:
    """Cross-entropy on fresh renderings and on round trips through the autoencoder, in turn."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    judge = Judge()
    matrices = [p for n, p in judge.named_parameters() if p.ndim > 1 and "heads" not in n]
    others = [p for n, p in judge.named_parameters() if p.ndim == 1 or "heads" in n]
    optimisers = [Muon(matrices, lr=0.0), torch.optim.AdamW(others, lr=0.0, weight_decay=0.0)]
    tripped, tripped_scenes = _round_trips(autoencoder, trips, generator)
    for step in range(steps):
        rate = min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for optimiser, peak in zip(optimisers, (4e-3, 2e-3), strict=True):
            for group in optimiser.param_groups:
                group["lr"] = peak * rate
        if step % 2:
            rows = torch.randint(trips, (batch,), generator=generator)
            pictures, scenes = tripped[rows], tripped_scenes[rows]
        else:
            scenes = world.draw_scenes(batch, generator, everything=True)
            pictures = renderer.render(scenes)
        logits, targets = judge(_worn(pictures, generator)), _targets(scenes)
        loss = sum(F.cross_entropy(logits[name], targets[name]) for name in HEADS)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        if (step + 1) % 100 == 0:
            log.info("step %d of %d, loss %.3f", step + 1, steps, float(loss.detach()))
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


def shipped_autoencoder() -> networks.Autoencoder:
    """The autoencoder of the shipped world."""
    autoencoder, prefix = networks.Autoencoder(), "autoencoder."
    weights = archive.unpack().items()
    autoencoder.load_state_dict(
        {name.removeprefix(prefix): t for name, t in weights if name.startswith(prefix)}
    )
    return autoencoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, metavar="AUTOENCODER", help="train it anew")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--trips", type=int, default=12288, help="round trips to train on")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if args.train:
        autoencoder = networks.Autoencoder()
        autoencoder.load_state_dict(load_file(args.train))
        judge = train(
            autoencoder, steps=args.steps, batch=args.batch, trips=args.trips, seed=args.seed
        )
        log.info("%d bytes", archive.pack(judge.state_dict(), WEIGHTS))
    else:
        autoencoder = shipped_autoencoder()
    log.info("\n%s", report(trained(), autoencoder))


if __name__ == "__main__":
    main()
