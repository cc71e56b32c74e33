"""ComfyUI's diffusion model as the engine's denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.model_sampling
import torch

from ..training.pictures import Frame
from ..training.protocols import TextContext
from .borrow import Lent
from .families import UnsupportedModelError


class ModelDenoiser:
    """A lent MODEL: noisy latents, sigma and context -> denoised latents, through apply_model."""

    def __init__(self, lent: Lent) -> None:
        self.lent = lent
        self.sampling = lent.model.get_model_object("model_sampling")
        self._sigmas = self.sampling.sigmas.detach().float().clone()
        self._prediction = prediction_of(lent.model)
        self._sizes: dict[Frame, torch.Tensor] = {}

    @property
    def sigmas(self) -> torch.Tensor:
        """The noise levels of timesteps 0..T-1, ``[T]``."""
        return self._sigmas

    @property
    def prediction(self) -> str:
        """'eps' or 'v'."""
        return self._prediction

    @property
    def device(self) -> torch.device:
        """Where the diffusion network runs."""
        return self.lent.device

    @property
    def loss_scale(self) -> float:
        """4096 where the network computes in float16, whose smallest numbers are too large."""
        network = self.lent.network
        dtype = network.manual_cast_dtype or network.get_dtype()
        return 4096.0 if dtype == torch.float16 else 1.0

    def save_memory(self) -> bool:
        """Recompute blocks of the network in the backward pass; False where it does already."""
        return self.lent.save_memory()

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, sigmas: torch.Tensor
    ) -> torch.Tensor:
        """latents + sigma * noise, by the model's own law."""
        return self.sampling.noise_scaling(sigmas, noise.clone(), latents)

    def denoise(
        self,
        noisy: torch.Tensor,
        sigmas: torch.Tensor,
        text: TextContext,
        frames: Sequence[Frame | None] = (),
    ) -> torch.Tensor:
        """The denoised estimate ``[B, C, h, w]``; gradients reach ``text`` alone."""
        options = self.lent.transformer_options | {
            "cond_or_uncond": [0],
            "sigmas": sigmas,
            "sample_sigmas": self._sigmas,
        }
        return self.lent.network.apply_model(
            noisy,
            sigmas,
            c_crossattn=text.context.to(noisy.device),
            transformer_options=options,
            **self._vector(noisy, text, frames),
        )

    def _vector(
        self, noisy: torch.Tensor, text: TextContext, frames: Sequence[Frame | None]
    ) -> dict[str, torch.Tensor]:
        """Beside the timestep SDXL reads the pooled output and how each picture was cut."""
        if not _reads_sizes(self.lent.network) or text.pooled is None:
            return {}
        height, width = (8 * side for side in noisy.shape[-2:])
        whole = Frame(height, width, 0, 0, height, width)
        given = list(frames) or [None] * noisy.shape[0]
        sizes = [self._size(frame or whole, text.pooled.shape[-1]) for frame in given]
        pooled = text.pooled.to(noisy.device)
        return {"y": torch.cat([pooled, torch.stack(sizes)], dim=-1)}

    def _size(self, frame: Frame, pooled_width: int) -> torch.Tensor:
        """The host's own embedding of sizes ``[6 * 256]``; made once for every frame."""
        if frame not in self._sizes:
            both = self.lent.network.encode_adm(
                pooled_output=torch.zeros(1, pooled_width),
                height=frame.original_height,
                width=frame.original_width,
                crop_h=frame.crop_top,
                crop_w=frame.crop_left,
                target_height=frame.height,
                target_width=frame.width,
            )
            self._sizes[frame] = both[0, pooled_width:].to(self.device)
        return self._sizes[frame]


def _reads_sizes(network: Any) -> bool:
    return bool(getattr(network, "adm_channels", 0))


def prediction_of(model: Any) -> str:
    """'eps' or 'v': what a MODEL predicts; raises UnsupportedModelError for anything else."""
    return _prediction(model.get_model_object("model_sampling"))


def _prediction(sampling: torch.nn.Module) -> str:
    if isinstance(sampling, comfy.model_sampling.EDM | comfy.model_sampling.X0):
        raise UnsupportedModelError(
            f"Training with {type(sampling).__mro__[2].__name__} prediction is not supported yet; "
            "connect an epsilon- or v-prediction model."
        )
    if isinstance(sampling, comfy.model_sampling.V_PREDICTION):
        return "v"
    if isinstance(sampling, comfy.model_sampling.EPS):
        return "eps"
    raise UnsupportedModelError(
        "This model's kind of prediction is not supported yet; connect an epsilon- or "
        "v-prediction model."
    )
