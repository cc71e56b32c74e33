"""CLIPs of every family with ComfyUI's own classes and tokenizers, and tiny random encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

CLIP = {
    "num_hidden_layers": 3,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "projection_dim": 32,
}
T5 = {"d_model": 32, "d_ff": 32, "d_kv": 16, "num_heads": 2, "num_layers": 1}
LLM = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
OPTIONS = {
    "clip_l_model_config": CLIP,
    "clip_g_model_config": CLIP | {"hidden_size": 48},
    "clip_h_model_config": CLIP | {"hidden_size": 64},
    "t5xxl_model_config": T5,
    "llama_model_config": LLM,
    "qwen3_4b_model_config": LLM,
}
LATER_OPTIONS = (
    {f"{key}_model_config": T5 for key in ("t5xxl", "t5base", "pile_t5xl", "")}
    | {f"{key}_model_config": CLIP for key in ("clip_l", "clip_g")}
    | {f"{key}_model_config": LLM for key in ("llama", "qwen25_7b", "qwen25_3b")}
    | {f"{key}_model_config": LLM | {"num_hidden_layers": 36} for key in ("qwen3vl_8b",)}
)
WIDTHS = {"clip_l": 32, "clip_g": 48, "clip_h": 64, "t5xxl": 32, "llama": 32, "qwen3_4b": 32}


def _sd1() -> tuple[Any, Any]:
    from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer

    return SD1ClipModel, SD1Tokenizer


def _sd2() -> tuple[Any, Any]:
    from comfy.text_encoders.sd2_clip import SD2ClipModel, SD2Tokenizer

    return SD2ClipModel, SD2Tokenizer


def _sdxl() -> tuple[Any, Any]:
    from comfy.sdxl_clip import SDXLClipModel, SDXLTokenizer

    return SDXLClipModel, SDXLTokenizer


def _sd3() -> tuple[Any, Any]:
    from comfy.text_encoders.sd3_clip import SD3Tokenizer, sd3_clip

    return sd3_clip(dtype_t5=torch.float16), SD3Tokenizer


def _flux() -> tuple[Any, Any]:
    from comfy.text_encoders.flux import FluxTokenizer, flux_clip

    return flux_clip(), FluxTokenizer


def _pixart() -> tuple[Any, Any]:
    from comfy.text_encoders.pixart_t5 import PixArtTokenizer, pixart_te

    return pixart_te(), PixArtTokenizer


def _hunyuan_video() -> tuple[Any, Any]:
    from comfy.text_encoders.hunyuan_video import HunyuanVideoTokenizer, hunyuan_video_clip

    return hunyuan_video_clip(), HunyuanVideoTokenizer


def _z_image() -> tuple[Any, Any]:
    from comfy.text_encoders.z_image import ZImageTokenizer, te

    return te(), ZImageTokenizer


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "SD1": _sd1,
    "SD2": _sd2,
    "SDXL": _sdxl,
    "SD3": _sd3,
    "Flux": _flux,
    "PixArt": _pixart,
    "HunyuanVideo": _hunyuan_video,
    "ZImage": _z_image,
}


FURTHER = {
    "SDXL refiner": ("comfy.sdxl_clip", "SDXLRefinerClipModel", "SDXLTokenizer"),
    "Stable Cascade": ("comfy.sdxl_clip", "StableCascadeClipModel", "StableCascadeTokenizer"),
    "LTXV": ("comfy.text_encoders.lt", "ltxv_te", "LTXVT5Tokenizer"),
    "Cosmos": ("comfy.text_encoders.cosmos", "te", "CosmosT5Tokenizer"),
    "Mochi": ("comfy.text_encoders.genmo", "mochi_te", "MochiT5Tokenizer"),
    "CogVideoX": ("comfy.text_encoders.cogvideo", "cogvideo_te", "CogVideoXTokenizer"),
    "Stable Audio": ("comfy.text_encoders.sa_t5", "SAT5Model", "SAT5Tokenizer"),
    "AuraFlow": ("comfy.text_encoders.aura_t5", "AuraT5Model", "AuraT5Tokenizer"),
    "HiDream": ("comfy.text_encoders.hidream", "hidream_clip", "HiDreamTokenizer"),
    "Hunyuan Video": (
        "comfy.text_encoders.hunyuan_video",
        "hunyuan_video_clip",
        "HunyuanVideoTokenizer",
    ),
    "Hunyuan Video 1.5": (
        "comfy.text_encoders.hunyuan_image",
        "te",
        "comfy.text_encoders.hunyuan_video:HunyuanVideo15Tokenizer",
    ),
    "Hunyuan Image": ("comfy.text_encoders.hunyuan_image", "te", "HunyuanImageTokenizer"),
    "Kandinsky 5": ("comfy.text_encoders.kandinsky5", "te", "Kandinsky5Tokenizer"),
    "Qwen Image": ("comfy.text_encoders.qwen_image", "te", "QwenImageTokenizer"),
    "OmniGen2": ("comfy.text_encoders.omnigen2", "te", "Omnigen2Tokenizer"),
    "Ideogram 4": ("comfy.text_encoders.ideogram4", "te", "Ideogram4Tokenizer"),
}
"""Further encoders by name: module, model, tokenizer; not every ComfyUI has each."""

EYES = (
    "comfy.text_encoders.qwen_vl:Qwen2VLVisionTransformer",
    "comfy.text_encoders.qwen3vl:Qwen3VLVisionModel",
)
"""Parts for pictures, which are left out here."""


def further_clip(name: str, folders: Sequence[Path]) -> Any:
    """As `tiny_clip`, of FURTHER; None where this ComfyUI has no such encoder."""
    module_name, model_name, tokenizer_name = FURTHER[name]
    home, _, tokenizer_name = tokenizer_name.rpartition(":")
    try:
        module = import_module(module_name)
        model = getattr(module, model_name)
        tokenizer = getattr(import_module(home) if home else module, tokenizer_name)
    except (ImportError, AttributeError):
        return None
    return _built(model if isinstance(model, type) else model(), tokenizer, folders, LATER_OPTIONS)


def tiny_clip(family: str, folders: Sequence[Path]) -> Any:
    """ComfyUI's CLIP of a family, whose tokenizers look in `folders`; the same at every call."""
    model, tokenizer = FAMILIES[family]()
    options = dict(OPTIONS)
    if family == "SD3":  # it joins its encoders at T5's true width
        options["t5xxl_model_config"] = T5 | {"d_model": 4096}
    return _built(model, tokenizer, folders, options)


def _built(model: Any, tokenizer: Any, folders: Sequence[Path], options: dict[str, Any]) -> Any:
    import comfy.sd

    with ExitStack() as stack:
        for eye in EYES:
            home, _, name = eye.partition(":")
            with suppress(ImportError):
                stack.enter_context(patch.object(import_module(home), name, Blind, create=True))
        clip = comfy.sd.CLIP(
            SimpleNamespace(params={}, clip=model, tokenizer=tokenizer),
            embedding_directory=[str(folder) for folder in folders],
            model_options=options | {"dtype": torch.float32},
        )
    generator = torch.Generator().manual_seed(11)
    for parameter in clip.cond_stage_model.parameters():
        noise = torch.empty(parameter.shape)
        if noise.dim() > 1:
            noise.normal_(0, 0.05, generator=generator)
        else:
            noise.normal_(1, 0.02, generator=generator)
        parameter.data.copy_(noise)
    for part in parts_of(clip):
        part.embedding_size = width(clip, part) or part.embedding_size
    return clip


class Blind(torch.nn.Module):
    """Stands where an encoder has a part for pictures."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()


def parts_of(clip: Any) -> list[Any]:
    """The tokenizers of the encoders within a CLIP."""
    found = [one for one in vars(clip.tokenizer).values() if hasattr(one, "embedding_key")]
    return found or [clip.tokenizer]


def width(clip: Any, part: Any) -> int | None:
    """The width of the token table that a tokenizer's tokens go into, None where there is none."""
    attributes = [name for name, one in vars(clip.tokenizer).items() if one is part]
    for name in (part.embedding_key, *attributes):
        encoder = getattr(clip.cond_stage_model, name, None)
        if encoder is not None:
            return encoder.transformer.get_input_embeddings().weight.shape[1]
    return None
