"""MODEL, CLIP and VAE in this process, loaded as a graph loads them: in inference mode."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from textual_inversion.tests.host import tiny_checkpoint


@dataclasses.dataclass
class Models:
    """What CheckpointLoaderSimple gives, and the file it came from."""

    model: Any
    clip: Any
    vae: Any
    path: Path

    def sample(self, prompt: str = "a photo of a dog", steps: int = 3) -> torch.Tensor:
        """A small picture from fixed noise, in inference mode."""
        import comfy.sample

        with torch.inference_mode():
            noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
            latent = comfy.sample.sample(
                self.model,
                noise,
                steps,
                4.0,
                "euler",
                "normal",
                self.encode(prompt),
                self.encode(""),
                torch.zeros(1, 4, 8, 8),
                disable_pbar=True,
                seed=1,
            )
            return self.vae.decode(latent).clone()

    def encode(self, prompt: str) -> Any:
        return self.clip.encode_from_tokens_scheduled(self.clip.tokenize(prompt))


def load(folder: Path) -> Models:
    """The checkpoint that TI_CHECKPOINT names, or one of random weights."""
    named = os.environ.get("TI_CHECKPOINT")
    return load_file(Path(named) if named else tiny_checkpoint.write(folder / "random.safetensors"))


def load_file(path: Path, **options: Any) -> Models:
    """A checkpoint file as a graph loads it; ``options`` are the host's loader's own."""
    import comfy.sd

    with torch.inference_mode():
        model, clip, vae = comfy.sd.load_checkpoint_guess_config(
            str(path), output_vae=True, output_clip=True, **options
        )[:3]
    return Models(model, clip, vae, path)


def pictures(count: int = 4, size: int = 64) -> torch.Tensor:
    """An IMAGE batch, made in inference mode as a graph would."""
    with torch.inference_mode():
        return torch.rand(count, size, size, 3, generator=torch.Generator().manual_seed(2))


@contextlib.contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
