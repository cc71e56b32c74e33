"""On a CPU: bfloat16 for a large network where a measured step of it is much faster."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

import comfy.model_management as management
import torch

from .substitution import substituted

log = logging.getLogger(__name__)

LARGE = 200_000_000
"""Parameters below which a network is left as it is: it is fast enough."""
WORTHWHILE = 2.0
"""How many times faster bfloat16 must be; processors with AMX are five to eight times faster."""
WINDOW = 77
PRODUCT_SIDE = 1024

_chosen: dict[tuple[int, int], torch.dtype] = {}


def best_dtype(model: Any, latent_area: int, options: Mapping[str, Any]) -> torch.dtype:
    """The number type to train in: bfloat16 if a step measured on the CPU is twice as fast.

    Measured once for a size of network and latent; everywhere else the model's own type.
    ``options`` are the transformer options of the training passes.
    """
    own = model.model.get_dtype()
    parameters = sum(each.numel() for each in model.model.diffusion_model.parameters())
    if not _may_choose(model, own, parameters):
        return own
    key = (parameters, latent_area)
    if key not in _chosen and _products_faster() < WORTHWHILE:
        _chosen[key] = own
    if key not in _chosen:
        _chosen[key] = _measured(model, latent_area, options)
    return _chosen[key]


@contextlib.contextmanager
def computing_in(network: torch.nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Inside, a UNet computes in ``dtype``; afterwards its very own weights are back."""
    own = network.dtype
    if own == dtype:
        yield
        return

    def cast(_: torch.nn.Module, tensor: torch.Tensor) -> torch.Tensor | None:
        if tensor.dtype != own:
            return None
        return torch.nn.Parameter(tensor.detach().to(dtype), requires_grad=False)

    with substituted(network, cast):
        network.dtype = dtype
        try:
            yield
        finally:
            network.dtype = own


def _may_choose(model: Any, own: torch.dtype, parameters: int) -> bool:
    return (
        model.load_device.type == "cpu"
        and own == torch.float32
        and model.model.manual_cast_dtype is None
        and parameters >= LARGE
        and computes_bfloat16()
        and management.get_free_memory(model.load_device) > 4 * parameters
    )


def computes_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself, as far as torch tells."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def _products_faster() -> float:
    """How many times faster a matrix product is in bfloat16; some milliseconds.

    Some processors have instructions for it that gain nothing; a step, a minute of computing and
    a copy of the weights, need not be measured there.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(PRODUCT_SIDE, PRODUCT_SIDE, dtype=dtype)
        passes = []
        for _ in range(4):
            started = time.perf_counter()
            torch.mm(a, a)
            passes.append(time.perf_counter() - started)
        seconds[dtype] = min(passes)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def _measured(model: Any, latent_area: int, options: Mapping[str, Any]) -> torch.dtype:
    network = model.model.diffusion_model
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        with computing_in(network, dtype):
            seconds[dtype] = _step_seconds(model, latent_area, options)
    faster = seconds[torch.float32] / seconds[torch.bfloat16]
    chosen = torch.bfloat16 if faster >= WORTHWHILE else torch.float32
    log.info("A step in bfloat16 is %.1f times as fast; training in %s", faster, chosen)
    return chosen


def _step_seconds(model: Any, latent_area: int, options: Mapping[str, Any]) -> float:
    """One pass forward and back, the better of two."""
    side = max(8, 8 * round(latent_area**0.5 / 8))
    channels = model.model.latent_format.latent_channels
    width = model.model.model_config.unet_config["context_dim"]
    latents = torch.zeros(1, channels, side, side)
    context = torch.zeros(1, WINDOW, width, requires_grad=True)
    extra: dict[str, Any] = {"transformer_options": dict(options)}
    if getattr(model.model, "adm_channels", 0):
        extra["y"] = torch.zeros(1, model.model.adm_channels)
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        sigma = torch.ones(1)
        predicted = model.model.apply_model(latents, sigma, c_crossattn=context, **extra)
        torch.autograd.grad(predicted.square().sum(), context)
        best = min(best, time.perf_counter() - started)
    return best
