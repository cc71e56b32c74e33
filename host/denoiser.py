"""ComfyUI's diffusion model as the engine's denoiser."""

from __future__ import annotations

import comfy.model_sampling
import torch

from ..training.protocols import TextContext
from .borrow import Lent
from .families import UnsupportedModelError


class ModelDenoiser:
    """A lent MODEL: noisy latents, sigma and context -> denoised latents, through apply_model."""

    def __init__(self, lent: Lent) -> None:
        self.lent = lent
        self.sampling = lent.model.get_model_object("model_sampling")
        self._sigmas = self.sampling.sigmas.detach().float().clone()
        self._prediction = _prediction(self.sampling)

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

    def add_noise(
        self, latents: torch.Tensor, noise: torch.Tensor, sigmas: torch.Tensor
    ) -> torch.Tensor:
        """latents + sigma * noise, by the model's own law."""
        return self.sampling.noise_scaling(sigmas, noise.clone(), latents)

    def denoise(self, noisy: torch.Tensor, sigmas: torch.Tensor, text: TextContext) -> torch.Tensor:
        """The denoised estimate ``[B, C, h, w]``; gradients reach ``text.context`` alone."""
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
        )


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
