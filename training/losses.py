"""The loss of a denoised estimate, in the space the network itself predicts in."""

from __future__ import annotations

import torch


def residual(
    denoised: torch.Tensor, latents: torch.Tensor, sigmas: torch.Tensor, prediction: str
) -> torch.Tensor:
    """Prediction minus target ``[B, C, h, w]``, up to sign, from the denoised estimate.

    With x = x0 + sigma eps: eps - eps_hat = (x0_hat - x0) / sigma; for v-prediction the same
    times sqrt(1 + sigma^2); for flows (x = (1 - sigma) x0 + sigma eps) again over sigma.
    """
    sigma = sigmas.view(-1, *[1] * (latents.ndim - 1))
    scale = (1 + sigma.square()).sqrt() / sigma if prediction == "v" else 1 / sigma
    return (denoised.float() - latents) * scale


def penalty(
    residual: torch.Tensor, kind: str, delta: float, masks: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean penalty of each sample ``[B]``, weighted by ``masks`` ``[B, 1, h, w]`` if given.

    'l2' is r^2; 'huber' the pseudo-Huber 2 delta (sqrt(r^2 + delta^2) - delta), which is r^2
    near zero and straight far beyond delta.
    """
    if kind == "huber":
        square = residual.square()
        value = 2 * delta * square / ((square + delta * delta).sqrt() + delta)
    else:
        value = residual.square()
    if masks is not None:
        value = value * masks
    return value.flatten(1).mean(dim=1)


def min_snr(sigmas: torch.Tensor, gamma: float, prediction: str) -> torch.Tensor:
    """Min-SNR weights ``[B]`` (arXiv 2303.09556), which quieten the least noisy timesteps.

    min(SNR, gamma) / SNR for a loss on noise, min(SNR, gamma) / (SNR + 1) on velocity, with
    SNR = 1 / sigma^2; for flows SNR = ((1 - sigma) / sigma)^2, weighted as noise.
    """
    if prediction == "flow":
        snr = ((1 - sigmas) / sigmas).square().clamp_min(1e-8)
        return snr.clamp(max=gamma) / snr
    snr = sigmas.square().reciprocal()
    return snr.clamp(max=gamma) / (snr + 1 if prediction == "v" else snr)
