"""Trains the narrow text encoder and UNet together: `python -m microworld.train_diffusion`."""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from . import captions, diffusion, networks, renderer, replicas, tokens, trainer_state, world
from .compute import Compute
from .muon import Muon

log = logging.getLogger(__name__)

NOISE_LEVELS = 4  # how often an encoded caption is used in a step
AVERAGE_EVERY = 25
BLANK_SHARE, BLANK_WEIGHT = 0.2, 0.5
PLACE_WEIGHT = 0.3
COMPOUND_SHARE = 0.25
PADDING = 40  # no caption reaches this row
TOKEN_NORM, POSITION_NORM = (0.36, 0.42), (0.05, 0.20)


class Said(NamedTuple):
    """A caption, and the words that its noun `captions.COMPOUND` means all at once."""

    caption: str
    meant: list[str]


class Pool:
    """Latents of rendered scenes, a part of which is drawn anew now and then.

    They lie on the autoencoder's device, the scenes on the CPU.
    """

    def __init__(self, autoencoder: networks.Autoencoder, size: int, seed: int) -> None:
        self.autoencoder, self.size = autoencoder, size
        self.device = next(autoencoder.parameters()).device
        self.generator = torch.Generator().manual_seed(seed)
        self.draw = random.Random(seed)
        parts = [self._new(256) for _ in range(size // 256)]
        self.scenes = world.Scenes.join([scenes for scenes, _ in parts])
        self.latents = torch.cat([latents for _, latents in parts])
        self._next = 0

    @torch.no_grad()
    def _new(self, count: int) -> tuple[world.Scenes, Tensor]:
        scenes = world.draw_scenes(count, self.generator)
        return scenes, self.autoencoder.encode(renderer.render(scenes).to(self.device))

    def refresh(self, count: int = 256) -> None:
        scenes, latents = self._new(count)
        rows = slice(self._next, self._next + count)
        for name, values in vars(scenes).items():
            getattr(self.scenes, name)[rows] = values
        self.latents[rows] = latents
        self._next = (self._next + count) % len(self.latents)

    def batch(self, count: int) -> tuple[list[Said], Tensor, Tensor]:
        """`count` captions, the places [count] in their scenes and the latents [count, 4, 8, 8]."""
        rows = torch.randint(len(self.latents), (count,), generator=self.generator)
        scenes = self.scenes[rows]
        said = [
            self._say(captions.words_of(scenes, i), bool(scenes.spoilt[i])) for i in range(count)
        ]
        return said, scenes.position.to(self.device), self.latents[rows.to(self.device)]

    def _say(self, words: dict[str, str], spoilt: bool) -> Said:
        names: tuple[str, ...] = ()
        if self.draw.random() < COMPOUND_SHARE:
            names = captions.compound(words, self.draw)
        left = {name: word for name, word in words.items() if name not in names}
        return Said(captions.caption(left, spoilt, self.draw), [words[name] for name in names])


class Model(nn.Module):
    """The text encoder and the UNet, as trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.text = networks.TextEncoder(len(tokens.live_ids()))
        self.unet = networks.UNet()
        self.place = nn.Linear(networks.TEXT_WIDTH, len(world.POSITIONS))
        nn.init.normal_(self.text.token_embedding.weight, std=0.39 / networks.TEXT_WIDTH**0.5)
        nn.init.normal_(self.text.position_embedding.weight, std=0.10 / networks.TEXT_WIDTH**0.5)
        silent = [m.proj_out for m in self.modules() if isinstance(m, networks.SpatialTransformer)]
        silent += [m.out_layers[3] for m in self.modules() if isinstance(m, networks.ResBlock)]
        for layer in [*silent, self.unet.out[2]]:
            nn.init.zeros_(layer.weight)

    def losses(
        self, said: list[Said], places: Tensor, latents: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The weighted loss of every sample; each caption serves `NOISE_LEVELS` of them.

        A share of the captions is also learnt from noise alone, and the padding rows of every
        caption must tell the place that it names, as CLIP's rows tell what a picture shows.
        """
        context = self.text.encode(self._embedded(said))
        repeated = latents.repeat_interleave(NOISE_LEVELS, 0)
        noise = torch.randn(repeated.shape, generator=generator).to(latents.device)
        times = diffusion.draw_timesteps(len(repeated), generator)
        weights = diffusion.WEIGHTS[times].sqrt().to(latents.device)
        error = diffusion.loss(self.unet, repeated, noise, times.to(latents.device), context)
        blanks = max(1, round(BLANK_SHARE * len(repeated)))
        blank = diffusion.blank_loss(self.unet, latents[:blanks], noise[:blanks], context[:blanks])
        told = nn.functional.cross_entropy(
            self.place(context[:, PADDING:].mean(1)), places, reduction="none"
        )
        return torch.cat([error * weights, BLANK_WEIGHT * blank, PLACE_WEIGHT * told])

    def _embedded(self, said: list[Said]) -> Tensor:
        """Token vectors [n, 77, width]; a compound is the direction of the sum of its words.

        Real vocabularies hold words that mean a shape and a colour and a texture at once; without
        any, a single learnt vector could not hold them either.
        """
        rows = tokens.table_rows([each.caption for each in said])
        table = self.text.token_embedding.weight
        embedded = self.text.token_embedding(rows.to(table.device))
        meanings = tokens.rows_of_words()
        (compound,) = meanings[captions.COMPOUND]
        for number, each in enumerate(said):
            places = (rows[number] == compound).nonzero()[:, 0]
            if each.meant and len(places):
                words = torch.stack([table[meanings[word]].sum(0) for word in each.meant])
                mixed = (words * (0.5 + torch.rand(len(words), 1)).to(words.device)).sum(0)
                embedded[number, places[0]] = TOKEN_NORM[0] * mixed / mixed.norm()
        return embedded

    @torch.no_grad()
    def hold_norms(self) -> None:
        """Keeps token rows and positions at CLIP-like lengths, so that recipes keep their scale."""
        for table, (low, high) in (
            (self.text.token_embedding.weight, TOKEN_NORM),
            (self.text.position_embedding.weight, POSITION_NORM),
        ):
            norm = table.norm(dim=1, keepdim=True)
            table.mul_(norm.clamp(low, high) / norm.clamp_min(1e-8))


def optimisers(model: Model) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for tables, biases, norms and the outer layers."""
    outer = ("token_embedding", "position_embedding", "input_blocks.0", "unet.out.2", "place")
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        hidden = parameter.ndim > 1 and not any(part in name for part in outer)
        (matrices if hidden else others).append(parameter)
    return [Muon(matrices, lr=0.0), torch.optim.AdamW(others, lr=0.0, weight_decay=0.0)]


def rate(share: float, step: int) -> float:
    """Warm-up of 100 steps, constant, then linear to zero over the last 45 % of the time."""
    return min(1.0, (step + 1) / 100) * min(1.0, max(0.0, 1 - share) / 0.45)


def train(
    folder: Path,
    *,
    minutes: float,
    batch: int,
    seed: int,
    pool_size: int,
    rank: int,
    compute: Compute,
) -> None:
    torch.manual_seed(seed)
    model = Model().to(compute.device)
    model.unet.forward = compute.compile(model.unet.forward)
    model.text.encode = compute.compile(model.text.encode)
    opts = optimisers(model)
    rates = (3e-3, 1.5e-3)
    weights_file = folder / "diffusion.safetensors"
    if weights_file.exists():
        model.load_state_dict(load_file(weights_file), strict=False)
    average = {name: p.detach().clone() for name, p in model.named_parameters()}
    autoencoder = networks.Autoencoder()
    autoencoder.load_state_dict(load_file(folder / "autoencoder.safetensors"))
    autoencoder.to(compute.device)
    state_file = folder / f"state-{rank}.pt"
    step, spent = trainer_state.restore(state_file, model, opts, average)
    pool = Pool(autoencoder, pool_size, seed * 1000 + 7 * step + rank)
    generator = torch.Generator().manual_seed(seed * 1000 + 500 + 7 * step + rank)
    probe = Pool(autoencoder, 512, 10**6).batch(128)
    parameters = list(model.parameters())
    if rank == 0:
        log.info(
            "%d parameters, latents' std %.3f, from step %d",
            sum(p.numel() for p in parameters),
            float(pool.latents.std()),
            step,
        )
    share, started, saved_at, running = 0.0, time.process_time() - spent, time.monotonic(), 0.0
    while share < 1:
        for opt, peak in zip(opts, rates, strict=True):
            for group in opt.param_groups:
                group["lr"] = peak * rate(share, step)
        with compute.precision():
            loss = model.losses(*pool.batch(batch), generator).mean()
        for opt in opts:
            opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for opt in opts:
            opt.step()
        model.hold_norms()
        running += 0.02 * (float(loss.detach()) - running) if step else float(loss.detach())
        step += 1
        if step % 10 == 0:
            pool.refresh()
        if step % AVERAGE_EVERY:
            continue
        replicas.average(parameters)
        spent = time.process_time() - started
        share = replicas.agree(spent / (60 * minutes))
        decay = min(0.97, 1 - 1 / (step / AVERAGE_EVERY + 1))
        for name, parameter in model.named_parameters():
            average[name].lerp_(parameter.detach(), 1 - decay)
        if rank == 0 and step % (4 * AVERAGE_EVERY) == 0:
            with torch.no_grad(), compute.precision(), torch.compiler.set_stance("force_eager"):
                now = model.losses(*probe, torch.Generator().manual_seed(3)).mean()
            log.info(
                "step %d, %.1f %%, loss %.4f, probe %.4f, %.0f samples/s a replica",
                step,
                100 * share,
                running,
                float(now),
                step * batch * NOISE_LEVELS / max(spent, 1),
            )
        if time.monotonic() - saved_at > 120 or share >= 1:
            saved_at = time.monotonic()
            trainer_state.save(state_file, model, opts, average, step=step, spent=spent)
            if rank == 0:
                shipped = {n: p for n, p in average.items() if not n.startswith("place.")}
                save_file(shipped, weights_file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, help="holds autoencoder.safetensors; a run in it goes on"
    )
    parser.add_argument(
        "--minutes", type=float, default=100, help="of a replica's own computing time"
    )
    parser.add_argument("--batch", type=int, default=12, help="captions a step and replica")
    parser.add_argument("--pool", type=int, default=12288, help="latents kept a replica")
    parser.add_argument("--seed", type=int, default=1)
    replicas.add_arguments(parser)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    compute = Compute.chosen(device=args.device, compiled=args.compile)
    replica = replicas.join()
    if replica is None:
        count = args.replicas or replicas.usual_count(compute.device)
        sys.exit(replicas.launch("microworld.train_diffusion", sys.argv[1:], count))
    train(
        args.folder,
        minutes=args.minutes,
        batch=args.batch,
        seed=args.seed,
        pool_size=args.pool,
        rank=replica[0],
        compute=compute,
    )


if __name__ == "__main__":
    main()
