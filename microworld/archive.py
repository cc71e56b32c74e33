"""The shipped weights: int8 rows with float16 scales, packed as safetensors and xz.

`python -m microworld.archive FOLDER` packs what the two trainers left in FOLDER.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor

WEIGHTS = Path(__file__).with_name("weights.safetensors.xz")
_SCALE = ".scale"


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
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    autoencoder = load_file(args.folder / "autoencoder.safetensors")
    tensors = {f"autoencoder.{name}": tensor for name, tensor in autoencoder.items()}
    tensors |= load_file(args.folder / "diffusion.safetensors")
    print(f"{args.out}: {pack(tensors, args.out)} bytes")


if __name__ == "__main__":
    main()
