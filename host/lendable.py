"""Which loaded models gradients can pass through at all, and what stands in the way."""

from __future__ import annotations

from typing import Any

import comfy.model_management as management
import comfy.ops
import torch

from .families import UnsupportedModelError, model_name


def without_dynamic_memory(owner: Any) -> Any:
    """A MODEL or CLIP whose weights are plain tensors; newer hosts may page them otherwise."""
    patcher = getattr(owner, "patcher", owner)
    is_dynamic = getattr(patcher, "is_dynamic", None)
    if is_dynamic is None or not is_dynamic():
        return owner
    try:
        return owner.clone(disable_dynamic=True)
    except RuntimeError as error:
        raise UnsupportedModelError(
            "This model's weights are paged and can't be trained with; start ComfyUI with "
            "--disable-dynamic-vram."
        ) from error


def check_weights(model: Any) -> None:
    """Raise UnsupportedModelError for quantised weights that lose the gradient unnoticed.

    Older hosts quantise the input of such layers as well, which has no backward.
    """
    if hasattr(comfy.ops, "QuantLinearFunc"):
        return
    for tensor in model.model.parameters():
        if type(tensor.data).__name__ == "QuantizedTensor" or _layout(tensor):
            raise UnsupportedModelError(
                f"This {model_name(model)} model's weights are quantised, and this ComfyUI can't "
                "train through them; use the fp16 or bf16 file of the model, or update ComfyUI."
            )


def _layout(tensor: torch.Tensor) -> bool:
    return hasattr(tensor, "_layout_type") or hasattr(tensor, "_layout_params")


def is_whole(patcher: Any) -> bool:
    """Whether all weights are on the device that computes."""
    device = torch.device(patcher.load_device)
    return all(
        tensor.device.type == device.type or tensor.numel() == 0
        for tensor in patcher.model.parameters()
    )


def check_offloading(patcher: Any) -> None:
    """Raise UnsupportedModelError where weights would be copied through shared buffers.

    Newer hosts reuse one buffer for the weights of many layers, which spoils what the backward
    pass needs; one flag switches that off.
    """
    if is_whole(patcher) or not hasattr(management, "STREAM_CAST_BUFFERS"):
        return
    if getattr(management, "NUM_STREAMS", 0) > 0:
        raise UnsupportedModelError(
            "The model doesn't fit into the GPU's memory as a whole, and its weights can't be "
            "trained with while they are copied in turns; start ComfyUI with "
            "--disable-async-offload, or lower resolution."
        )
