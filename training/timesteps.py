"""Which timesteps are drawn: p(t) proportional to max logSNR - logSNR(t), or uniform."""

from __future__ import annotations

import torch


def density(sigmas: torch.Tensor, kind: str, start: float, stop: float) -> torch.Tensor:
    """Probabilities ``[T]`` of the timesteps of ``sigmas`` ``[T]``; zero outside start..stop.

    'high_noise' is TextBoost's density (arXiv 2409.08248): p(t) ~ max logSNR - logSNR(t), with
    logSNR = -2 log sigma. ``start`` and ``stop`` are shares of the schedule.
    """
    count = sigmas.shape[0]
    if kind == "high_noise":
        log_snr = -2.0 * sigmas.double().cpu().log()
        weight = log_snr.max() - log_snr
    else:
        weight = torch.ones(count, dtype=torch.float64)
    index = torch.arange(count)
    inside = (index >= round(start * (count - 1))) & (index <= round(stop * (count - 1)))
    weight = weight * inside
    if weight.sum() <= 0:
        weight = inside.double()
    return weight / weight.sum()


def draw(
    probabilities: torch.Tensor, count: int, generator: torch.Generator | None
) -> torch.Tensor:
    """``count`` timesteps, one from each of ``count`` equal shares of the density, shuffled.

    Without a generator each share gives its middle, in order: the probe bank's choice.
    """
    if generator is None:
        place = torch.full((count,), 0.5, dtype=torch.float64)
        order = torch.arange(count)
    else:
        place = torch.rand(count, generator=generator, dtype=torch.float64)
        order = torch.randperm(count, generator=generator)
    quantile = (order + place) / count
    cumulative = probabilities.cumsum(0)
    chosen = torch.searchsorted(cumulative, quantile * cumulative[-1], right=True)
    last = int(probabilities.nonzero().max())
    return chosen.clamp(max=last)
