"""Telling people what a file is when it is not an embedding."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..embedding import EmbeddingError
from .container import Container

_KINDS: tuple[tuple[str, str], ...] = (
    (
        r"(^|[._])lora_(up|down|A|B|mid|unet|te\d*)|\.(hada|lokr)_w\d|\.oft_|\.dora_scale"
        r"|\.(alpha|diff|diff_b)$",
        "is a LoRA, not an embedding; put it into models/loras and load it with Load LoRA",
    ),
    (
        r"^(model\.diffusion_model|cond_stage_model|conditioner\.embedders|model_ema)\.",
        "is a checkpoint, not an embedding; put it into models/checkpoints",
    ),
    (
        r"^(control_model|controlnet_\w+|input_hint_block)\.",
        "is a ControlNet, not an embedding; put it into models/controlnet",
    ),
    (
        r"^(input_blocks|down_blocks|double_blocks|joint_blocks|transformer_blocks)\.",
        "is a diffusion model, not an embedding; put it into models/diffusion_models",
    ),
    (
        r"^(first_stage_model|encoder\.down|decoder\.(up|conv_in|mid))",
        "is a VAE, not an embedding; put it into models/vae",
    ),
    (
        r"^(text_model\.|transformer\.)?(encoder\.layers|encoder\.block|resblocks|model\.layers)\.",
        "is a text encoder, not an embedding; put it into models/text_encoders",
    ),
    (
        r"^(emp_params|clip_[lgh]|t5|t5xxl|llama|gemma)_out$",
        "is an output embedding of OneTrainer, which is added after the text encoder; "
        "train it again with output embeddings switched off",
    ),
    (
        r"^(IN|OUT)\d\d$",
        "is an extended textual inversion (XTI), one vector a UNet block, which ComfyUI has no "
        "place for",
    ),
    (
        r"^(state_dict|optimizer_state_dict|optimizer_states)$",
        "is a checkpoint or a training state, not an embedding; checkpoints belong into "
        "models/checkpoints",
    ),
    (r"^(320|640|1280)$", "is a hypernetwork, not an embedding; put it into models/hypernetworks"),
)

_BUNDLE = re.compile(r"^bundle_emb\.")


def refuse_by_keys(path: Path, keys: Iterable[str]) -> None:
    """Raise EmbeddingError if the keys are those of another kind of model. Reads no tensor."""
    keys = [str(key) for key in keys]
    for pattern, kind in _KINDS:
        if any(re.search(pattern, key) for key in keys if not _BUNDLE.match(key)):
            raise EmbeddingError(f"{path.name} {kind}.")
    if any(_BUNDLE.match(key) for key in keys):
        raise EmbeddingError(f"{path.name} is a bundle of embeddings, which cannot be loaded yet.")
    if not keys:
        raise EmbeddingError(f"{path.name} holds nothing.")


def refuse_unknown(container: Container) -> EmbeddingError:
    """The error for a file whose keys no format knows."""
    shown = ", ".join(repr(key) for key in list(container.tensors)[:4]) or "no tensors"
    return EmbeddingError(f"{container.path.name} is no known kind of embedding; it has {shown}.")
