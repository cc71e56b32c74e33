"""ComfyUI as a library, for measuring: its own nodes in this process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

STEPS, GUIDANCE = 25, 5.0
SAMPLER, SCHEDULER = "dpmpp_2m", "karras"


def host_nodes(comfyui: Path) -> ModuleType:
    """ComfyUI's `nodes` module, imported from its folder; on the CPU where there is no GPU."""
    sys.path.insert(0, str(comfyui))
    import comfy.cli_args

    if not torch.cuda.is_available():
        comfy.cli_args.args.cpu = True
    import comfy.utils

    import nodes

    comfy.utils.set_progress_bar_enabled(False)
    return nodes


class Sampler:
    """Samples prompts with a checkpoint through ComfyUI's own nodes."""

    def __init__(self, comfyui: Path, checkpoint: Path) -> None:
        self.nodes = host_nodes(comfyui)
        import comfy.sd

        self.model, self.clip, self.vae = comfy.sd.load_checkpoint_guess_config(
            str(checkpoint), output_vae=True, output_clip=True
        )[:3]

    @torch.inference_mode()
    def pictures(
        self, prompts: Sequence[str], *, seed: int, negative: str = "", batch: int = 40
    ) -> Tensor:
        """One picture for each prompt, [n, 3, 64, 64] in 0..1."""
        encode = self.nodes.CLIPTextEncode().encode
        (empty,) = encode(self.clip, negative)
        done = []
        for start in range(0, len(prompts), batch):
            conditionings = [encode(self.clip, p)[0][0] for p in prompts[start : start + batch]]
            context = torch.cat([tensor for tensor, _ in conditionings])
            latent = {"samples": torch.zeros(len(context), 4, 8, 8)}
            (sampled,) = self.nodes.KSampler().sample(
                self.model,
                seed + start,
                STEPS,
                GUIDANCE,
                SAMPLER,
                SCHEDULER,
                [[context, {}]],
                empty,
                latent,
            )
            (images,) = self.nodes.VAEDecode().decode(self.vae, sampled)
            done.append(images.movedim(-1, 1).clone())
        return torch.cat(done)
