"""Lends ComfyUI's loaded models for autograd and gives them back exactly as they were."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import Any

import comfy.model_management as management
import torch

from .attention import trainable_attention
from .compiled import compiled_network
from .frozen_convolution import frozen_convolutions
from .gated_gelu import thrifty_gelus
from .lendable import check_offloading, check_weights, is_whole, without_dynamic_memory
from .memory import float32_bytes, training_memory
from .precision import best_dtype, computing_in
from .recompute import recomputed_blocks
from .substitution import substituted

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Lent:
    """Models fit for autograd: nothing in them requires grad, gradients pass through them."""

    model: Any
    clip: Any
    transformer_options: dict[str, Any]
    pause: Callable[[], contextlib.AbstractContextManager[None]]
    save_memory: Callable[[], bool] = lambda: False
    compile: Callable[[Callable[[str], None]], None] = lambda notice: None

    @property
    def network(self) -> torch.nn.Module:
        """ComfyUI's BaseModel around the diffusion network."""
        return self.model.model

    @property
    def text_model(self) -> torch.nn.Module:
        """ComfyUI's text model, the parent of the text encoders."""
        return self.clip.patcher.model

    @property
    def device(self) -> torch.device:
        """Where the diffusion network runs."""
        return self.model.load_device


@contextlib.contextmanager
def borrow(model: Any, clip: Any, *, batch_size: int, latent_area: int) -> Iterator[Lent]:
    """Lend ``model`` and ``clip`` for training with ``batch_size`` latents of ``latent_area``.

    Inside, inference mode is off, parameters require no grad, and gradients pass. However the
    block ends, the models are afterwards bit for bit what they were. ``Lent.pause()`` gives
    them back for a while, for sampling a preview; ``Lent.save_memory()`` makes the network keep
    less for the backward pass from now on; ``Lent.compile(notice)`` compiles it, and tells
    ``notice`` where that fails. Raises UnsupportedModelError.
    """
    check_weights(model)
    model, clip = without_dynamic_memory(model), without_dynamic_memory(clip)
    needed = training_memory(model, clip, batch_size, latent_area)
    options = dict(model.model_options.get("transformer_options", {}))
    options["optimized_attention_override"] = trainable_attention
    stack: contextlib.ExitStack | None = None
    saving = False
    told_of_failure: Callable[[str], None] | None = None

    def acquire() -> None:
        nonlocal stack, saving
        with contextlib.ExitStack() as entering:
            management.load_models_gpu(
                [model, clip.patcher], memory_required=needed, force_full_load=True
            )
            for patcher in (model, clip.patcher):
                check_offloading(patcher)
            saving = saving or not is_whole(model)
            entering.enter_context(torch.inference_mode(False))
            entering.enter_context(torch.enable_grad())
            entering.enter_context(_marked_as_training())
            for module in (model.model, clip.patcher.model):
                entering.enter_context(substituted(module, _normal_tensor))
                entering.enter_context(_frozen(module))
            entering.enter_context(_cast_once(clip.patcher.model, clip.patcher.load_device))
            entering.enter_context(_out_of_place_residuals(clip.patcher.model))
            network = model.model.diffusion_model
            entering.enter_context(frozen_convolutions(network))
            entering.enter_context(thrifty_gelus(network))
            dtype = best_dtype(model, latent_area, options)
            entering.enter_context(computing_in(network, dtype))
            if saving:
                entering.enter_context(recomputed_blocks(network))
            if told_of_failure is not None:
                entering.enter_context(compiled_network(network, told_of_failure))
            stack = entering.pop_all()

    def release() -> None:
        nonlocal stack
        held, stack = stack, None
        if held is not None:
            held.close()

    @contextlib.contextmanager
    def pause() -> Iterator[None]:
        release()
        try:
            with torch.inference_mode():
                yield
        finally:
            acquire()

    def save_memory() -> bool:
        nonlocal saving
        management.soft_empty_cache()
        if saving or stack is None:
            return False
        saving = True
        stack.enter_context(recomputed_blocks(model.model.diffusion_model))
        return True

    def compile_network(notice: Callable[[str], None]) -> None:
        nonlocal told_of_failure

        def failed(sentence: str) -> None:
            nonlocal told_of_failure
            told_of_failure = None
            notice(sentence)

        if told_of_failure is None and stack is not None:
            told_of_failure = failed
            stack.enter_context(compiled_network(model.model.diffusion_model, failed))

    acquire()
    try:
        yield Lent(model, clip, options, pause, save_memory, compile_network)
    finally:
        release()
        management.soft_empty_cache()


@contextlib.contextmanager
def _marked_as_training() -> Iterator[None]:
    """Tell newer hosts to leave fused kernels that have no backward."""
    if not hasattr(management, "in_training"):
        yield
        return
    before = management.in_training
    management.in_training = True
    try:
        yield
    finally:
        management.in_training = before


def _normal_tensor(module: torch.nn.Module, tensor: torch.Tensor) -> torch.Tensor | None:
    """A normal tensor on the storage of an inference tensor; nothing is copied."""
    if not tensor.is_inference():
        return None
    alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())
    if isinstance(tensor, torch.nn.Parameter):
        return torch.nn.Parameter(alias, requires_grad=False)
    return alias


def _cast_once(root: torch.nn.Module, device: torch.device) -> contextlib.AbstractContextManager:
    """Full-precision copies of the half-precision weights of a text encoder.

    The host computes it in float32 and would cast its weights anew in every forward pass, with
    the same result; on a CPU a step takes half as long without. Does nothing where memory for
    the copies is short.
    """

    def cast(module: torch.nn.Module, tensor: torch.Tensor) -> torch.Tensor | None:
        if tensor.dtype not in (torch.float16, torch.bfloat16):
            return None
        if isinstance(module, torch.nn.Embedding):
            return None
        return torch.nn.Parameter(tensor.detach().float(), requires_grad=False)

    if management.get_free_memory(device) < 2 * float32_bytes(root):
        return contextlib.nullcontext()
    return substituted(root, cast)


@contextlib.contextmanager
def _frozen(root: torch.nn.Module) -> Iterator[None]:
    """No parameter requires grad inside; those that did before do again after."""
    thawed = [parameter for parameter in root.parameters() if parameter.requires_grad]
    for parameter in thawed:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in thawed:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def _out_of_place_residuals(text_model: torch.nn.Module) -> Iterator[None]:
    """Let CLIP layers add in place without spoiling what their norms saved for the backward."""
    with contextlib.ExitStack() as hooks:
        for layer in text_model.modules():
            for name in ("layer_norm1", "layer_norm2"):
                norm = getattr(layer, name, None)
                if isinstance(norm, torch.nn.Module):
                    hooks.callback(norm.register_forward_pre_hook(_clone_input).remove)
        yield


def _clone_input(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].clone(), *inputs[1:])
