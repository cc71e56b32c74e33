"""CLIPs of every family with ComfyUI's own classes and tokenizers, and tiny random encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from transformers import PreTrainedTokenizerBase

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


EYES = (
    "comfy.text_encoders.qwen_vl:Qwen2VLVisionTransformer",
    "comfy.text_encoders.qwen3vl:Qwen3VLVisionModel",
    "comfy.text_encoders.qwen35:Qwen35VisionModel",
    "comfy.text_encoders.gemma4:Gemma4VisionEncoder",
    "comfy.text_encoders.gemma4:Gemma4MultiModalProjector",
    "comfy.text_encoders.gemma4:Gemma4AudioEncoder",
    "comfy.text_encoders.gemma4:Gemma4AudioProjector",
    "comfy.text_encoders.gemma4:Gemma4UnifiedVisionEmbedder",
    "comfy.text_encoders.gemma4:Gemma4RMSNormProjector",
    "comfy.text_encoders.llama:Gemma3MultiModalProjector",
    "comfy.clip_model:CLIPVision",
)
"""Parts for pictures and sounds, which are left out here."""


def tiny_clip(family: str, folders: Sequence[Path]) -> Any:
    """ComfyUI's CLIP of a family, whose tokenizers look in `folders`; the same at every call."""
    model, tokenizer = FAMILIES[family]()
    options = dict(OPTIONS)
    if family == "SD3":  # it joins its encoders at T5's true width
        options["t5xxl_model_config"] = T5 | {"d_model": 4096}
    return built(model, tokenizer, folders, options)


def built(
    model: Any,
    tokenizer: Any,
    folders: Sequence[Path],
    options: Mapping[str, Any],
    tokenizer_data: Mapping[str, Any] | None = None,
) -> Any:
    """ComfyUI's CLIP of a model and a tokenizer class, with random weights, without eyes."""
    import comfy.sd

    with ExitStack() as stack:
        for eye in EYES:
            home, _, name = eye.partition(":")
            with suppress(ImportError, AttributeError):
                stack.enter_context(patch.object(import_module(home), name, Blind))
        stack.enter_context(patch.object(PreTrainedTokenizerBase, "from_pretrained", _vocabulary))
        clip = comfy.sd.CLIP(
            SimpleNamespace(params={}, clip=model, tokenizer=tokenizer),
            embedding_directory=[str(folder) for folder in folders],
            tokenizer_data=dict(tokenizer_data or {}),
            model_options={**options, "dtype": torch.float32},
        )
    for module in clip.cond_stage_model.modules():
        if getattr(module, "weight", None) is None and hasattr(module, "_orig_shape"):
            module.weight = torch.nn.Parameter(torch.empty(module._orig_shape))
    generator = torch.Generator().manual_seed(11)
    for parameter in clip.cond_stage_model.parameters():
        noise = torch.empty(parameter.shape)
        if noise.dim() > 1:
            noise.normal_(0, 0.05, generator=generator)
        else:
            noise.normal_(1, 0.02, generator=generator)
        parameter.data.copy_(noise)
    return clip


_READ_BY = PreTrainedTokenizerBase.from_pretrained.__func__


@cache
def _read(tokenizer: type, path: str) -> Any:
    home = Path(path)
    if home.name == "qwen35_tokenizer" and not (home / "vocab.json").is_file():
        path = str(home.with_name("qwen25_tokenizer"))  # of a checkout without large files
    return _READ_BY(tokenizer, path)


@classmethod
def _vocabulary(tokenizer: type, path: str, **_: Any) -> Any:
    """A vocabulary, read once."""
    return _read(tokenizer, path)


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
    model = clip.cond_stage_model
    attributes = [name for name, one in vars(clip.tokenizer).items() if one is part]
    found = [getattr(model, name, None) for name in (part.embedding_key, *attributes)]
    if parts_of(clip) == [part]:
        found += [model, *model.children()]
    for encoder in found:
        if hasattr(encoder, "process_tokens"):
            return encoder.transformer.get_input_embeddings().weight.shape[1]
    return None
