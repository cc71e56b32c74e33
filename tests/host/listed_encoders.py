"""Every text encoder that ComfyUI loads, with what a tiny random one of it is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from textual_inversion.tests.host import tiny_clips
from textual_inversion.tests.host.tiny_clips import CLIP, LLM, T5, built, parts_of
from textual_inversion.tests.host.tiny_vocabularies import (
    gemma_model,
    roberta_model,
    t5_model,
    tekken_model,
    tokenizer_json,
)


class Modules:
    """ComfyUI's modules of text encoders as attributes."""

    def __getattr__(self, name: str) -> Any:
        home = "comfy." if name == "sdxl_clip" else "comfy.text_encoders."
        return import_module(home + name)


@dataclass(frozen=True)
class Listed:
    """`made` gives model and tokenizer; `sizes` are by ComfyUI's own model names.

    `data` is what a checkpoint brings for its tokenizer, `options` goes to the model.
    """

    made: Callable[[Any], tuple[Any, Any]]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    options: Callable[[], Mapping[str, Any]] = dict


def layers(count: int, **more: Any) -> dict[str, Any]:
    return LLM | {"num_hidden_layers": count} | more


SMALL = {"vocab_size": 1024}
LONGEST_PADDING = 300
"""Tokens; some pad every text to 1024."""

BERT = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
}
GEMMA = layers(4, **SMALL)
GEMMA4 = layers(4, num_kv_shared_layers=0, **SMALL)
QWEN25 = {"qwen25_7b": LLM}
HIDREAM = {"clip_l": CLIP, "clip_g": CLIP, "t5xxl": T5, "llama": LLM}
OF_T5 = {"spiece_model": t5_model}
OF_GEMMA = {"spiece_model": gemma_model}
OF_MISTRAL = {"tekken_model": tekken_model}
OF_JSON = {"tokenizer_json": tokenizer_json}


def _gemma4(variant: str) -> Listed:
    def made(te: Any) -> tuple[Any, Any]:
        model = getattr(te.gemma4, variant)
        return te.gemma4.gemma4_te(model_class=model), model.tokenizer

    return Listed(made, {"gemma4": GEMMA4}, OF_JSON)


def _ltx2_with_gemma4(te: Any) -> tuple[Any, Any]:
    model = te.gemma4.Gemma4_12B
    encoder = te.gemma4.gemma4_text_encoder_model(model)
    return (
        te.lt.ltxav_te(text_encoder_model=encoder, text_encoder_key="gemma4"),
        te.lt.ltxav_gemma4_tokenizer(model.tokenizer),
    )


def _stable_audio3(te: Any) -> tuple[Any, Any]:
    class Config(te.sa3.T5GemmaEncoderConfig):
        def __init__(self) -> None:
            super().__init__()
            vars(self).update(layers(2, **SMALL))

    def model(**kwargs: Any) -> Any:
        with patch.object(te.sa3, "T5GemmaEncoderConfig", Config):
            return te.sa3.SAT5GemmaModel(**kwargs)

    return model, te.sa3.SAT5GemmaTokenizer


def _by_type(module: str, model_type: str) -> Listed:
    def made(te: Any) -> tuple[Any, Any]:
        home = getattr(te, module)
        return home.te(model_type=model_type), home.tokenizer(model_type=model_type)

    return Listed(made, {model_type: LLM})


LISTED: dict[str, Listed] = {
    "SDXL refiner": Listed(
        lambda te: (te.sdxl_clip.SDXLRefinerClipModel, te.sdxl_clip.SDXLTokenizer),
        {"clip_g": CLIP},
    ),
    "Stable Cascade": Listed(
        lambda te: (te.sdxl_clip.StableCascadeClipModel, te.sdxl_clip.StableCascadeTokenizer),
        {"clip_g": CLIP},
    ),
    "SAM 3": Listed(
        lambda te: (te.sam3_clip.SAM3ClipModelWrapper, te.sam3_clip.SAM3TokenizerWrapper),
        {"sam3_clip": CLIP},
    ),
    "LTXV": Listed(lambda te: (te.lt.ltxv_te(), te.lt.LTXVT5Tokenizer), {"t5xxl": T5}),
    "Cosmos": Listed(lambda te: (te.cosmos.te(), te.cosmos.CosmosT5Tokenizer), {"t5xxl": T5}),
    "Mochi": Listed(lambda te: (te.genmo.mochi_te(), te.genmo.MochiT5Tokenizer), {"t5xxl": T5}),
    "CogVideoX": Listed(
        lambda te: (te.cogvideo.cogvideo_te(), te.cogvideo.CogVideoXTokenizer), {"t5xxl": T5}
    ),
    "Stable Audio": Listed(lambda te: (te.sa_t5.SAT5Model, te.sa_t5.SAT5Tokenizer), {"t5base": T5}),
    "Stable Audio 3": Listed(_stable_audio3, data=OF_GEMMA),
    "AuraFlow": Listed(
        lambda te: (te.aura_t5.AuraT5Model, te.aura_t5.AuraT5Tokenizer), {"pile_t5xl": T5}
    ),
    "Wan": Listed(lambda te: (te.wan.te(), te.wan.WanT5Tokenizer), {"umt5xxl": T5 | SMALL}, OF_T5),
    "ACE-Step": Listed(
        lambda te: (te.ace.AceT5Model, te.ace.AceT5Tokenizer), {"": T5 | SMALL}, OF_T5
    ),
    "ACE-Step 1.5": Listed(lambda te: (te.ace15.te(), te.ace15.ACE15Tokenizer), {"": LLM}),
    "Hunyuan DiT": Listed(
        lambda te: (te.hydit.HyditModel, te.hydit.HyditTokenizer),
        {"hydit_clip": BERT, "mt5xl": T5 | SMALL},
        {"mt5xl.spiece_model": t5_model},
    ),
    "HiDream": Listed(lambda te: (te.hidream.hidream_clip(), te.hidream.HiDreamTokenizer), HIDREAM),
    "HiDream without its CLIPs": Listed(
        lambda te: (
            te.hidream.hidream_clip(clip_l=False, clip_g=False),
            te.hidream.HiDreamTokenizer,
        ),
        HIDREAM,
    ),
    "HiDream O1": Listed(lambda te: (te.hidream_o1.HiDreamO1TE, te.hidream_o1.HiDreamO1Tokenizer)),
    "Hunyuan Video": Listed(
        lambda te: (te.hunyuan_video.hunyuan_video_clip(), te.hunyuan_video.HunyuanVideoTokenizer),
        {"clip_l": CLIP, "llama": LLM},
    ),
    "Hunyuan Video 1.5": Listed(
        lambda te: (te.hunyuan_image.te(), te.hunyuan_video.HunyuanVideo15Tokenizer),
        QWEN25 | {"": T5},
    ),
    "Hunyuan Image": Listed(
        lambda te: (te.hunyuan_image.te(), te.hunyuan_image.HunyuanImageTokenizer),
        QWEN25 | {"": T5},
    ),
    "Kandinsky 5": Listed(
        lambda te: (te.kandinsky5.te(), te.kandinsky5.Kandinsky5Tokenizer),
        QWEN25 | {"clip_l": CLIP},
    ),
    "Kandinsky 5 Image": Listed(
        lambda te: (te.kandinsky5.te(), te.kandinsky5.Kandinsky5TokenizerImage),
        QWEN25 | {"clip_l": CLIP},
    ),
    "Qwen Image": Listed(lambda te: (te.qwen_image.te(), te.qwen_image.QwenImageTokenizer), QWEN25),
    "LongCat Image": Listed(
        lambda te: (te.longcat_image.te(), te.longcat_image.LongCatImageTokenizer), QWEN25
    ),
    "OmniGen2": Listed(
        lambda te: (te.omnigen2.te(), te.omnigen2.Omnigen2Tokenizer), {"qwen25_3b": LLM}
    ),
    "Ovis": Listed(lambda te: (te.ovis.te(), te.ovis.OvisTokenizer), {"qwen3_2b": LLM}),
    "Anima": Listed(lambda te: (te.anima.te(), te.anima.AnimaTokenizer), {"qwen3_06b": LLM}),
    "Flux 2 Klein 4B": Listed(
        lambda te: (te.flux.klein_te(), te.flux.KleinTokenizer), {"qwen3_4b": layers(28)}
    ),
    "Flux 2 Klein 8B": Listed(
        lambda te: (te.flux.klein_te(model_type="qwen3_8b"), te.flux.KleinTokenizer8B),
        {"qwen3_8b": layers(28)},
    ),
    "Flux 2": Listed(
        lambda te: (te.flux.flux2_te(pruned=True), te.flux.Flux2Tokenizer),
        {"mistral3_24b": layers(30, **SMALL)},
        OF_MISTRAL,
    ),
    "Ernie": Listed(
        lambda te: (te.ernie.te(), te.ernie.ErnieTokenizer), {"ministral3_3b": GEMMA}, OF_MISTRAL
    ),
    "Lumina 2": Listed(
        lambda te: (te.lumina2.te(), te.lumina2.LuminaTokenizer), {"gemma2_2b": GEMMA}, OF_GEMMA
    ),
    "Gemma 3 4B": Listed(
        lambda te: (te.lumina2.te(model_type="gemma3_4b"), te.lumina2.NTokenizer),
        {"gemma3_4b": GEMMA},
        OF_GEMMA,
    ),
    "Gemma 3 12B": Listed(
        lambda te: (te.lt.gemma3_te(), te.lt.Gemma3_12BTokenizer), {"": GEMMA}, OF_GEMMA
    ),
    "Gemma 4 E2B": _gemma4("Gemma4_E2B"),
    "Gemma 4 E4B": _gemma4("Gemma4_E4B"),
    "Gemma 4 12B": _gemma4("Gemma4_12B"),
    "Gemma 4 31B": _gemma4("Gemma4_31B"),
    "LTX 2": Listed(
        lambda te: (te.lt.ltxav_te(), te.lt.LTXAVGemmaTokenizer), {"": GEMMA}, OF_GEMMA
    ),
    "LTX 2 with Gemma 4": Listed(_ltx2_with_gemma4, {"": GEMMA4}, OF_JSON),
    "PixelDiT": Listed(
        lambda te: (te.pixeldit.pixeldit_te(), te.pixeldit.PixelDiTGemma2Tokenizer),
        {"gemma2_2b": GEMMA},
        OF_GEMMA,
    ),
    "Jina CLIP": Listed(
        lambda te: (
            te.jina_clip_2.JinaClip2TextModelWrapper,
            te.jina_clip_2.JinaClip2TokenizerWrapper,
        ),
        {"jina_clip_2": BERT | SMALL},
        {"spiece_model": roberta_model},
    ),
    "NewBie": Listed(
        lambda te: (te.newbie.te(), te.newbie.NewBieTokenizer),
        {"": BERT | SMALL},
        {"gemma_spiece_model": gemma_model, "jina_spiece_model": roberta_model},
    ),
    "Ideogram 4": Listed(
        lambda te: (te.ideogram4.te(), te.ideogram4.Ideogram4Tokenizer), {"qwen3vl_8b": layers(36)}
    ),
    "Ideogram 4 Qwen3-VL": Listed(
        lambda te: (te.ideogram4.te_qwen3vl(), te.ideogram4.Ideogram4Qwen3VLTokenizer),
        {"qwen3vl_8b": layers(36)},
    ),
    "Qwen3-VL 4B": _by_type("qwen3vl", "qwen3vl_4b"),
    "Qwen3-VL 8B": _by_type("qwen3vl", "qwen3vl_8b"),
    "Boogu": Listed(lambda te: (te.boogu.te(), te.boogu.BooguTokenizer), {"qwen3vl_8b": LLM}),
    "JoyImage": Listed(
        lambda te: (te.joyimage.te(), te.joyimage.JoyImageTokenizer), {"qwen3vl_8b": LLM}
    ),
    "Krea 2": Listed(
        lambda te: (te.krea2.te(), te.krea2.Krea2Tokenizer), {"qwen3vl_4b": layers(36)}
    ),
    "Mage-Flow": Listed(
        lambda te: (te.mage_flow.te(), te.mage_flow.MageFlowTokenizer), {"qwen3vl_4b": LLM}
    ),
    "MiniMax H3": Listed(
        lambda te: (te.minimax.te(), te.minimax.MiniMaxH3Tokenizer), {"qwen3vl_32b": LLM}
    ),
    "Qwen3.5": _by_type("qwen35", "qwen35_2b"),
    "Lens": Listed(
        lambda te: (te.gpt_oss.lens_te(), te.gpt_oss.LensTokenizer),
        data={"tokenizer_json": lambda: tokenizer_json(Modules().gpt_oss._lens_render_chat("a"))},
        options=lambda: {
            "gpt_oss_config": layers(4, **SMALL, num_local_experts=2, num_experts_per_tok=1),
            "selected_layers": (0, 1, 2, 3),
            "custom_operations": plain_operations(),
        },
    ),
}
"""Those that `tiny_clips.FAMILIES` has not; not every ComfyUI has each.

Gemma 3 4B in the form that sees pictures is Gemma 3 4B here: core itself cannot encode text with
it, because its tokens go by another name than the model looks for.
"""

NOT_COVERED = {
    "CogVideoXT5Tokenizer": "part of CogVideoX's, which is covered; for checkpoints it is paired "
    "with a bare T5 that ComfyUI's CLIP does not accept",
    "MiniMaxMusic3Tokenizer": "its model writes music while it encodes; that it takes no "
    "embeddings is asserted of the tokenizer alone",
}

_TOKENIZER = re.compile(r"\b[a-z]\w*\.(\w*[Tt]okenizer\w*)")


def plain_operations() -> Any:
    """Layers whose weights are there at once; quantized ones get theirs from a file alone."""
    import comfy.ops
    import torch

    class Operations(comfy.ops.mixed_precision_ops({}, torch.float32, full_precision_mm=True)):
        Linear = comfy.ops.manual_cast.Linear

    return Operations


def listed_clip(name: str, folders: Sequence[Path]) -> Any:
    """ComfyUI's CLIP with a tiny random encoder; None where this ComfyUI has no such encoder."""
    listed = LISTED[name]
    try:
        model, tokenizer = listed.made(Modules())
    except (ImportError, AttributeError):
        return None
    sizes = {f"{key}_model_config": value for key, value in listed.sizes.items()}
    data = {key: make() for key, make in listed.data.items()}
    clip = built(model, tokenizer, folders, {**sizes, **listed.options()}, data)
    for part in parts_of(clip):
        part.min_length = part.min_length and min(part.min_length, LONGEST_PADDING)
    return clip


def loaded_by(comfyui: Path) -> set[str]:
    """The names of the tokenizers of every text encoder that this ComfyUI loads."""
    lines = (comfyui / "comfy/sd.py").read_text().splitlines()
    targets = (comfyui / "comfy/supported_models.py").read_text().split("ClipTarget(")
    written = [line.partition("=")[2] for line in lines if "clip_target.tokenizer =" in line]
    written += [target.partition(",")[0] for target in targets[1:]]
    return {name for one in written for name in _TOKENIZER.findall(one)}


def listed_names() -> set[str]:
    """The names of tokenizers that are named here and in FAMILIES."""
    texts = [Path(one).read_text() for one in (__file__, tiny_clips.__file__)]
    return {name for text in texts for name in re.findall(r"\w*[Tt]okenizer\w*", text)}
