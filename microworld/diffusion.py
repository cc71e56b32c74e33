"""Stable Diffusion's noise schedule and the narrow networks' loss and sampler."""

from __future__ import annotations

import torch
from torch import Tensor

from . import networks

STEPS = 1000
_BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float64) ** 2
ALPHAS = torch.cumprod(1 - _BETAS, dim=0).float()
# Low noise matters little for what a picture shows: weigh by the noise-to-signal ratio, bounded.
WEIGHTS = ((1 - ALPHAS) / ALPHAS).clamp(1, 8)


def noised(latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """sqrt(a) x + sqrt(1 - a) eps (Ho et al., 2020)."""
    alpha = ALPHAS.to(timesteps.device)[timesteps].view(-1, 1, 1, 1)
    return alpha.sqrt() * latents + (1 - alpha).sqrt() * noise


def draw_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Stratified timesteps with density proportional to the square root of `WEIGHTS`."""
    cumulative = torch.cumsum(WEIGHTS.sqrt(), dim=0)
    cumulative = cumulative / cumulative[-1]
    where = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    where = where[torch.randperm(count, generator=generator)]
    return torch.searchsorted(cumulative, where).clamp_max(STEPS - 1)


def loss(
    unet: networks.UNet, latents: Tensor, noise: Tensor, timesteps: Tensor, context: Tensor
) -> Tensor:
    """Mean squared error of the noise prediction, one number a sample, [n]."""
    predicted = unet(noised(latents, noise, timesteps), timesteps, context)
    return (predicted - noise).square().mean((1, 2, 3))


def blank_loss(unet: networks.UNet, latents: Tensor, noise: Tensor, context: Tensor) -> Tensor:
    """Mean squared error of the picture predicted from noise alone, one number a sample, [n].

    SD's last timestep still holds a trace of the picture, enough to tell where an object lies, so
    that a network never needs the words for it; sampling starts without that trace.
    """
    times = torch.full((len(latents),), STEPS - 1, device=latents.device)
    alpha = ALPHAS[-1]
    predicted = unet(noise, times, context)
    clean = (noise - (1 - alpha).sqrt() * predicted) / alpha.sqrt()
    return (clean - latents).square().mean((1, 2, 3))


@torch.no_grad()
def sample(
    unet: networks.UNet,
    context: Tensor,
    empty: Tensor,
    *,
    steps: int = 25,
    guidance: float = 5.0,
    generator: torch.Generator,
) -> Tensor:
    """DDIM (Song et al., 2021) with classifier-free guidance: contexts [n, 77, d] -> latents."""
    count = len(context)
    x = torch.randn(count, 4, 8, 8, generator=generator)
    times = torch.linspace(STEPS - 1, 0, steps + 1).round().long()[:-1]
    both = torch.cat([context, empty.expand(count, -1, -1)])
    for i, time in enumerate(times):
        wanted, free = unet(x.repeat(2, 1, 1, 1), time.expand(2 * count), both).chunk(2)
        noise = free + guidance * (wanted - free)
        alpha = ALPHAS[time]
        clean = (x - (1 - alpha).sqrt() * noise) / alpha.sqrt()
        after = ALPHAS[times[i + 1]] if i + 1 < len(times) else torch.tensor(1.0)
        x = after.sqrt() * clean + (1 - after).sqrt() * noise
    return x
