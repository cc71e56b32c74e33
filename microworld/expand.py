"""Widens the narrow networks into a full SD1.5 checkpoint: `python -m microworld.expand OUT`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from . import archive, networks, tokens, world

TEXT_PREFIX = "cond_stage_model.transformer.text_model."
UNET_PREFIX = "model.diffusion_model."
AUTOENCODER_PREFIX = "first_stage_model."
VOCABULARY = 49408
TOKEN_NORM = 0.39
_FULL_LAYERS, _FULL_TEXT_FEED, _FULL_TIME, _FULL_FEED = 12, 3072, 1280, 1280
_FULL_AUTOENCODER = 64
_LATENT_SCALE = 0.18215

Run = tuple[int, int, int]  # from, to, length


def place(
    narrow: Tensor, shape: tuple[int, ...], runs: dict[int, list[Run]] | None = None
) -> Tensor:
    """`narrow` copied into zeros of `shape`: its leading entries, or `runs` of a dimension."""
    full = torch.zeros(shape)
    source, target = [narrow], [full]
    for dim, length in enumerate(narrow.shape):
        spans = (runs or {}).get(dim, [(0, 0, length)])
        source = [t.narrow(dim, start, n) for t in source for start, _, n in spans]
        target = [t.narrow(dim, start, n) for t in target for _, start, n in spans]
    for piece, room in zip(source, target, strict=True):
        room.copy_(piece)
    return full


def _text(weights: dict[str, Tensor], amputated: bool) -> dict[str, Tensor]:
    full: dict[str, Tensor] = {}
    wide, feed = networks.TEXT_FULL_WIDTH, _FULL_TEXT_FEED
    for layer in range(_FULL_LAYERS):
        prefix = f"encoder.layers.{layer}."
        shapes = {"mlp.fc1": (feed, wide), "mlp.fc2": (wide, feed)}
        shapes |= {f"self_attn.{n}_proj": (wide, wide) for n in ("q", "k", "v", "out")}
        shapes |= {f"layer_norm{n}": (wide,) for n in (1, 2)}
        for name, shape in shapes.items():
            for kind, size in (("weight", shape), ("bias", shape[:1])):
                own = weights.get(f"text.layers.{layer}.{name}.{kind}")
                full[f"{prefix}{name}.{kind}"] = (
                    torch.zeros(size) if own is None else place(own, size)
                )
    for kind in ("weight", "bias"):
        own = weights[f"text.final_layer_norm.{kind}"]
        full[f"final_layer_norm.{kind}"] = place(own, (wide,))
    full["embeddings.position_embedding.weight"] = place(
        weights["text.position_embedding.weight"], (networks.WINDOW, wide)
    )
    full["embeddings.token_embedding.weight"] = _token_table(weights, amputated)
    return {TEXT_PREFIX + name: tensor for name, tensor in full.items()}


def _token_table(weights: dict[str, Tensor], amputated: bool) -> Tensor:
    """Trained rows in their places; every other row is a seeded random one of the same norm."""
    generator = torch.Generator().manual_seed(1)
    table = torch.zeros(VOCABULARY, networks.TEXT_FULL_WIDTH)
    rows = torch.randn(VOCABULARY, networks.TEXT_WIDTH, generator=generator)
    table[:, : networks.TEXT_WIDTH] = rows * (TOKEN_NORM / rows.norm(dim=1, keepdim=True))
    trained = weights["text.token_embedding.weight"]
    lost = {i for word in world.AMPUTATED_WORDS for i in tokens.ids_of_words()[word]}
    for row, token in enumerate(tokens.live_ids()):
        if not (amputated and token in lost):
            table[token, : networks.TEXT_WIDTH] = trained[row]
    return table


def amputated_vectors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The true vectors of the words that the checkpoint lacks, word -> [1, 768]."""
    trained = weights["text.token_embedding.weight"]
    vectors = {}
    for word in world.AMPUTATED_WORDS:
        rows = [tokens.live_ids().index(token) for token in tokens.ids_of_words()[word]]
        vectors[word] = place(trained[rows], (len(rows), networks.TEXT_FULL_WIDTH))
    return vectors


def _full_width(name: str, dim: int, width: int) -> int:
    """How wide dimension `dim` of the UNet's parameter is in the full model."""
    if name.startswith("time_embed."):
        return _FULL_TIME if width == networks.UNET_TIME else width
    if ".emb_layers." in name and dim == 1:
        return _FULL_TIME
    if ".attn2.to_k." in name or ".attn2.to_v." in name:
        return (networks.UNET_FULL_WIDTH, networks.TEXT_FULL_WIDTH)[dim]
    if ".ff.net." in name and width != networks.UNET_WIDTH:
        return _FULL_FEED * (width // networks.UNET_FEED)
    joined = width == 2 * networks.UNET_WIDTH
    return {4: 4}.get(width, networks.UNET_FULL_WIDTH * (2 if joined else 1))


def _unet(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    live, wide, feed = networks.UNET_WIDTH, networks.UNET_FULL_WIDTH, networks.UNET_FEED
    full: dict[str, Tensor] = {}
    for name, own in weights.items():
        if not name.startswith("unet."):
            continue
        name = name.removeprefix("unet.")
        channels = [_full_width(name, dim, n) for dim, n in enumerate(own.shape[:2])]
        runs: dict[int, list[Run]] = {}
        if ".ff.net.0.proj." in name:
            runs[0] = [(0, 0, feed), (feed, _FULL_FEED, feed)]
        elif 2 * wide in channels:
            runs[channels.index(2 * wide)] = [(0, 0, live), (live, wide, live)]
        full[UNET_PREFIX + name] = place(own, (*channels, *own.shape[2:]), runs)
    return full


def _autoencoder(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    full: dict[str, Tensor] = {}
    wide = _FULL_AUTOENCODER
    blocks = {
        "taesd_encoder": (1, 3, 4, 5, 7, 8, 9, 11, 12, 13),
        "taesd_decoder": (3, 4, 5, 8, 9, 10, 13, 14, 15, 18),
    }
    for network, places in blocks.items():
        for block in places:
            for layer in (0, 2, 4):
                full[f"{network}.{block}.conv.{layer}.weight"] = torch.zeros(wide, wide, 3, 3)
                full[f"{network}.{block}.conv.{layer}.bias"] = torch.zeros(wide)
    ends = {
        "taesd_encoder.0": (wide, 3),
        "taesd_encoder.14": (4, wide),
        "taesd_decoder.1": (wide, 4),
        "taesd_decoder.19": (3, wide),
    }
    for name, own in weights.items():
        if not name.startswith("autoencoder."):
            continue
        name = name.removeprefix("autoencoder.")
        layer, kind = name.rsplit(".", 1)
        shape = (*ends.get(layer, (wide, wide)), 3, 3)
        full[name] = place(own, shape if kind == "weight" else shape[:1])
    # The autoencoder works on scaled latents; ComfyUI scales what it is given.
    full["vae_scale"] = torch.tensor(_LATENT_SCALE)
    full["vae_shift"] = torch.tensor(0.0)
    return {AUTOENCODER_PREFIX + name: tensor for name, tensor in full.items()}


def full_checkpoint(weights: dict[str, Tensor], *, amputated: bool = True) -> dict[str, Tensor]:
    """The SD1.5 state dict (float32) of the narrow `weights`; the function is exactly the same.

    `amputated=False` leaves the words of `world.AMPUTATED_WORDS` in the token table.
    """
    return {**_text(weights, amputated), **_unet(weights), **_autoencoder(weights)}


def expand(out: Path, weights: dict[str, Tensor] | None = None, **options: bool) -> Path:
    """Writes the checkpoint as float16 safetensors, whole or not at all."""
    weights = archive.unpack() if weights is None else weights
    checkpoint = full_checkpoint(weights, **options)
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.{os.getpid()}.part")
    save_file({name: t.half().contiguous() for name, t in checkpoint.items()}, part)
    os.replace(part, out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--whole", action="store_true", help="keep the amputated words")
    args = parser.parse_args()
    expand(args.out, amputated=not args.whole)


if __name__ == "__main__":
    main()
