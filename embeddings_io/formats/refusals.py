"""Telling people what a file is when it is not an embedding."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import torch

from ..embedding import EmbeddingError
from . import bundle_keys
from .container import Container

MAX_KEYS = 20_000
"""Keys that are looked at; the largest models have a few thousand."""

CONDITIONING = (
    "is a conditioning (a prompt that was already encoded), not an embedding; nothing can be "
    "written beside it in a prompt"
)
OUTPUT_EMBEDDING = (
    "is an output embedding of OneTrainer, which is added after the text encoder; "
    "train it again with output embeddings switched off"
)

KINDS: Mapping[str, tuple[str, str]] = {
    "LoRA": (
        r"(^|[._])lora_(up|down|A|B|mid|unet|te\d*)|\.(hada|lokr)_w\d|\.oft_|\.dora_scale"
        r"|\.(alpha|diff|diff_b)$",
        "is a LoRA, not an embedding; put it into models/loras and load it with Load LoRA",
    ),
    "checkpoint": (
        r"^(model\.diffusion_model|cond_stage_model|conditioner\.embedders|model_ema)\.",
        "is a checkpoint, not an embedding; put it into models/checkpoints",
    ),
    "ControlNet": (
        r"^(control_model|controlnet_\w+|input_hint_block)\.",
        "is a ControlNet, not an embedding; put it into models/controlnet",
    ),
    "diffusion model": (
        r"^(input_blocks|down_blocks|double_blocks|joint_blocks|transformer_blocks)\.",
        "is a diffusion model, not an embedding; put it into models/diffusion_models",
    ),
    "VAE": (
        r"^(first_stage_model|encoder\.down|decoder\.(up|conv_in|mid))",
        "is a VAE, not an embedding; put it into models/vae",
    ),
    "vision encoder": (
        r"^(vision_model|visual)\.",
        "is a vision encoder, not an embedding; put it into models/clip_vision",
    ),
    "text encoder": (
        r"^(text_model\.|transformer\.)?(encoder\.layers|encoder\.block|resblocks|model\.layers)\.",
        "is a text encoder, not an embedding; put it into models/text_encoders",
    ),
    "IP-Adapter": (
        r"^(image_proj|ip_adapter)(\.|$)",
        "is an IP-Adapter, not an embedding; put it into models/ipadapter",
    ),
    "output embedding": (
        r"^(emp_params|emb_params|clip_[lgh]|t5|t5xxl|llama|gemma)_out$",
        OUTPUT_EMBEDDING,
    ),
    "XTI": (
        r"^(IN|OUT)\d\d$",
        "is an extended textual inversion (XTI), one vector a UNet block, which ComfyUI has no "
        "place for",
    ),
    "conditioning": (
        r"^((negative_)?(pooled_)?prompt_embeds|pooled_output|conditioning|cond|crossattn_emb)$",
        CONDITIONING,
    ),
    "training state": (
        r"^(state_dict|optimizer_state_dict|optimizer_states)$",
        "is a checkpoint or a training state, not an embedding; checkpoints belong into "
        "models/checkpoints",
    ),
    "hypernetwork": (
        r"^(320|640|1280)$",
        "is a hypernetwork, not an embedding; put it into models/hypernetworks",
    ),
}
"""Other kinds of files: what one of their keys looks like, and how the sentence goes on."""

_PATTERNS = [(re.compile(pattern), sentence) for pattern, sentence in KINDS.values()]
_PROMPT_LENGTH = 77


def refuse_by_keys(path: Path, keys: Iterable[str]) -> None:
    """Raise EmbeddingError if the keys are those of another kind of model. Reads no tensor."""
    looked_at = list(islice(keys, MAX_KEYS))
    if not looked_at:
        raise EmbeddingError(f"{path.name} holds nothing.")
    bundled = bundle_keys.names(looked_at)
    for pattern, sentence in _PATTERNS:
        if any(pattern.search(key) for key in looked_at if not bundle_keys.is_bundled(key)):
            if bundled:
                sentence = (
                    f"is a LoRA with {_listed(bundled)} inside; read it with Embeddings from LoRA"
                )
            raise EmbeddingError(f"{path.name} {sentence}.")


def refuse_conditioning(container: Container) -> None:
    """Raise EmbeddingError if a tensor has the shape of a text encoder's output."""
    for tensor in _tensors(container.data):
        if tensor.dim() == 3 and tensor.shape[1] >= _PROMPT_LENGTH and tensor.shape[2] >= 512:
            raise EmbeddingError(f"{container.path.name} {CONDITIONING}.")
        if tensor.dim() == 2 and tensor.shape[0] and tensor.shape[0] % _PROMPT_LENGTH == 0:
            raise EmbeddingError(f"{container.path.name} {CONDITIONING}.")


def refuse_unknown(container: Container) -> EmbeddingError:
    """The error for a file whose keys no format knows."""
    shown = ", ".join(repr(key[:80]) for key in list(container.tensors)[:4]) or "no tensors"
    return EmbeddingError(f"{container.path.name} is no known kind of embedding; it has {shown}.")


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"the embedding{'s' if len(names) > 1 else ''} {shown}{more}"


def _tensors(data: object) -> Iterator[torch.Tensor]:
    if isinstance(data, torch.Tensor):
        yield data
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _tensors(value)
    elif isinstance(data, list):
        for value in data:
            yield from _tensors(value)
