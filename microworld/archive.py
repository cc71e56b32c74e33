"""The shipped weights: int8 rows with float16 scales, packed as safetensors and xz.

`python -m microworld.archive FOLDER` packs what the two trainers left in FOLDER, and with
`--unpack` puts the shipped weights there for the trainers to go on from.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import torch
from safetensors.torch import load, load_file, save, save_file
from torch import Tensor

WEIGHTS = Path(__file__).with_name("weights.safetensors.xz")
_SCALE = ".scale"
_AUTOENCODER = "autoencoder."


def pack(tensors: dict[str, Tensor], path: Path) -> int:
    """Writes `tensors` and returns the file's size in bytes. Matrices lose their ninth bit."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().float().contiguous()
        if tensor.ndim < 2:
            stored[name] = tensor.half()
            continue
        rows = tensor.flatten(1)
        scale = (rows.abs().amax(1) / 127).clamp_min(1e-7).half()
        quantised = (rows / scale.float()[:, None]).round().clamp(-127, 127)
        stored[name] = quantised.to(torch.int8).view(tensor.shape)
        stored[name + _SCALE] = scale
    path.write_bytes(lzma.compress(save(stored), preset=9 | lzma.PRESET_EXTREME))
    return path.stat().st_size


def unpack(path: Path = WEIGHTS) -> dict[str, Tensor]:
    """The narrow networks' parameters in float32, by name."""
    stored = load(lzma.decompress(path.read_bytes()))
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith(_SCALE):
            continue
        tensors[name] = tensor.float()
        if tensor.dtype == torch.int8:
            scale = stored[name + _SCALE].float()
            tensors[name] *= scale.view(-1, *[1] * (tensor.ndim - 1))
    return tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--unpack", action="store_true")
    args = parser.parse_args()
    autoencoder, diffusion = (
        args.folder / f"{n}.safetensors" for n in ("autoencoder", "diffusion")
    )
    if args.unpack:
        args.folder.mkdir(parents=True, exist_ok=True)
        weights = unpack()
        own = {n: t for n, t in weights.items() if n.startswith(_AUTOENCODER)}
        save_file({n.removeprefix(_AUTOENCODER): t for n, t in own.items()}, autoencoder)
        save_file({n: t for n, t in weights.items() if n not in own}, diffusion)
    else:
        tensors = {_AUTOENCODER + name: tensor for name, tensor in load_file(autoencoder).items()}
        print(f"{WEIGHTS}: {pack(tensors | load_file(diffusion), WEIGHTS)} bytes")


if __name__ == "__main__":
    main()
