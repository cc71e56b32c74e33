"""Embedding files as other programs write them, one maker for every kind; and files to refuse."""

from __future__ import annotations

import base64
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

WIDTHS = {"clip_l": 768, "clip_h": 1024, "clip_g": 1280, "t5xxl": 4096, "qwen3_4b": 2560}
Vectors = dict[str, torch.Tensor]


def rows(key: str, count: int = 2) -> torch.Tensor:
    """Vectors that are the same in every run, different for every encoder."""
    generator = torch.Generator().manual_seed(WIDTHS[key] + count)
    return torch.randn(count, WIDTHS[key], generator=generator) * 0.02


def vectors(*keys: str, count: int = 2) -> Vectors:
    """Vectors by encoder key."""
    return {key: rows(key, count) for key in keys}


def a1111(tensor: object, **more: object) -> dict[str, object]:
    """The table that A1111 saves."""
    table = {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "cat"}
    return table | {"step": 500, "sd_checkpoint": "abcd", "sd_checkpoint_name": "sd15"} | more


L, G, H, T5 = rows("clip_l"), rows("clip_g"), rows("clip_h"), rows("t5xxl")


def st(folder: Path, tensors: Vectors, name: str = "cat", metadata: dict | None = None) -> Path:
    """A safetensors file."""
    path = folder / f"{name}.safetensors"
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path, metadata)
    return path


def pt(folder: Path, data: object, name: str = "cat.pt", **how: object) -> Path:
    """A torch file."""
    torch.save(data, folder / name, **how)
    return folder / name


def on_a_gpu(path: Path) -> Path:
    """The same torch file as a GPU's owner saves it: its storages lie on cuda:0."""
    on_cpu, on_gpu = (b"X" + struct.pack("<I", len(at)) + at for at in (b"cpu", b"cuda:0"))
    if not zipfile.is_zipfile(path):
        content = path.read_bytes()
        assert on_cpu in content
        path.write_bytes(content.replace(on_cpu, on_gpu))
        return path
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert any(on_cpu in part for part in parts.values())
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part.replace(on_cpu, on_gpu) if "data.pkl" in name else part)
    return path


def pair(folder: Path, ending: str = ".safetensors", steps: str = "") -> Path:
    """SDXL's two files of diffusers."""
    for number, tensor in (("", L), ("_2", G)):
        path = folder / f"learned_embeds{number}{steps}{ending}"
        if ending == ".bin":
            torch.save({"<cat>": tensor}, path)
        else:
            save_file({"<cat>": tensor}, path)
    return folder / f"learned_embeds{steps}{ending}"


def card_text(tensor: torch.Tensor) -> bytes:
    """The JSON of A1111's cards."""
    table = a1111({"TORCHTENSOR": tensor.tolist()})
    return json.dumps(table).encode()


def card_with_chunk(folder: Path) -> Path:
    """A PNG with the text chunk alone."""
    info = PngImagePlugin.PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(card_text(L)).decode())
    Image.new("RGB", (32, 32), "red").save(folder / "cat.png", pnginfo=info)
    return folder / "cat.png"


def generator_numbers(count: int) -> np.ndarray:
    """The masking numbers of A1111's cards, one after the other."""
    numbers, state = [], 0
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        numbers.append(state % 255)
    return np.array(numbers)


def card_of_pixels(folder: Path, ending: str = ".png", height: int = 64) -> Path:
    """A picture with the embedding in its pixels alone, as the published layout says."""
    packed = np.frombuffer(zlib.compress(card_text(L), 9), np.uint8)
    size = (len(packed) // (3 * height) + 1) * 3 * height
    packed = np.resize(packed, size).reshape(height, -1, 3)
    mask = (generator_numbers(size) & 15).astype(np.uint8).reshape(packed.shape)
    black = np.zeros((height, 1, 3), np.uint8)
    picture = np.full((height, 40, 3), 130, np.uint8)
    left, right = (0xA0 | (packed & 15 ^ mask)), (0x50 | (packed >> 4 ^ mask))
    whole = np.concatenate([left, black, picture, black, right], axis=1)
    framed = np.pad(whole, ((3, 2), (4, 1), (0, 0)))
    Image.fromarray(framed).save(folder / f"cat{ending}", lossless=True)
    return folder / f"cat{ending}"


def original(names: tuple[str, ...] = ("*",)) -> dict[str, object]:
    """The table that the original repository saves."""
    parameters = {name: torch.nn.Parameter(L.clone()) for name in names}
    return {
        "string_to_token": {name: torch.tensor(265) for name in names},
        "string_to_param": torch.nn.ParameterDict(parameters),
    }


BUNDLE = {"bundle_emb.cat.clip_l": L, "bundle_emb.cat.clip_g": G}
LORA = {
    "lora_unet_x.lora_down.weight": torch.ones(3, 5, dtype=torch.float16),
    "lora_unet_x.lora_up.weight": torch.ones(5, 3, dtype=torch.float16),
    "lora_unet_x.alpha": torch.tensor(4.0),
}

Maker = Callable[[Path], Path]
READABLE: dict[str, tuple[str, Maker, Vectors]] = {
    "emb_params": ("comfyui", lambda f: st(f, {"emb_params": L}), {"clip_l": L}),
    "emb_params of SD2": ("comfyui", lambda f: st(f, {"emb_params": H}), {"clip_h": H}),
    "emb_params in a .pt": ("comfyui", lambda f: pt(f, {"emb_params": L}), {"clip_l": L}),
    "half precision": (
        "comfyui",
        lambda f: st(f, {"emb_params": L.half()}),
        {"clip_l": L.half().float()},
    ),
    "bfloat16": (
        "comfyui",
        lambda f: st(f, {"emb_params": L.bfloat16()}),
        {"clip_l": L.bfloat16().float()},
    ),
    "SDXL": ("comfyui", lambda f: st(f, {"clip_l": L, "clip_g": G}), {"clip_l": L, "clip_g": G}),
    "SDXL in a .pt": (
        "comfyui",
        lambda f: pt(f, {"clip_l": L, "clip_g": G}),
        {"clip_l": L, "clip_g": G},
    ),
    "SD3 of ComfyUI": (
        "comfyui",
        lambda f: st(f, {"clip_l": L, "clip_g": G, "t5xxl": T5}),
        {"clip_l": L, "clip_g": G, "t5xxl": T5},
    ),
    "a language model's": (
        "comfyui",
        lambda f: st(f, vectors("qwen3_4b")),
        vectors("qwen3_4b"),
    ),
    "an encoder that only the file knows": (
        "comfyui",
        lambda f: st(f, {"new_llm": G}, metadata={"textual_inversion.encoders": "new_llm"}),
        {"new_llm": G},
    ),
    "SD3 with both keys": (
        "sd3_flux",
        lambda f: st(f, {"clip_l": L, "t5xxl": T5, "t5": T5.clone()}),
        {"clip_l": L, "t5xxl": T5},
    ),
    "emp_params": ("onetrainer", lambda f: st(f, {"emp_params": L}), {"clip_l": L}),
    "t5 of OneTrainer": (
        "onetrainer",
        lambda f: st(f, {"clip_l": L, "t5": T5}),
        {"clip_l": L, "t5xxl": T5},
    ),
    "diffusers": ("diffusers", lambda f: st(f, {"<cat>": L}), {"clip_l": L}),
    "diffusers, one vector": ("diffusers", lambda f: st(f, {"<cat>": L[0]}), {"clip_l": L[:1]}),
    "diffusers .bin": ("diffusers", lambda f: pt(f, {"<cat>": L}, "cat.bin"), {"clip_l": L}),
    "diffusers' pair": ("diffusers", pair, {"clip_l": L, "clip_g": G}),
    "diffusers' pair .bin": (
        "diffusers",
        lambda f: pair(f, ".bin"),
        {"clip_l": L, "clip_g": G},
    ),
    "diffusers' pair midway": (
        "diffusers",
        lambda f: pair(f, steps="-steps-500"),
        {"clip_l": L, "clip_g": G},
    ),
    "diffusers, numbered": (
        "diffusers",
        lambda f: st(f, {"text_encoders_0": L, "text_encoders_1": G}),
        {"clip_l": L, "clip_g": G},
    ),
    "A1111": ("a1111_pt", lambda f: pt(f, a1111(L)), {"clip_l": L}),
    "A1111 in training": (
        "a1111_pt",
        lambda f: pt(f, a1111(L.clone().requires_grad_())),
        {"clip_l": L},
    ),
    "A1111 parameter": (
        "a1111_pt",
        lambda f: pt(f, a1111(torch.nn.Parameter(L.clone()))),
        {"clip_l": L},
    ),
    "A1111 half": ("a1111_pt", lambda f: pt(f, a1111(L.half())), {"clip_l": L.half().float()}),
    "A1111 before torch 1.6": (
        "a1111_pt",
        lambda f: pt(f, a1111(L), _use_new_zipfile_serialization=False),
        {"clip_l": L},
    ),
    "A1111 from a GPU": ("a1111_pt", lambda f: on_a_gpu(pt(f, a1111(L))), {"clip_l": L}),
    "A1111 from a GPU before torch 1.6": (
        "a1111_pt",
        lambda f: on_a_gpu(pt(f, a1111(L), _use_new_zipfile_serialization=False)),
        {"clip_l": L},
    ),
    "A1111 joined SDXL": (
        "a1111_pt",
        lambda f: pt(f, a1111(torch.cat([L, G], dim=1))),
        {"clip_l": L, "clip_g": G},
    ),
    "original": ("original_pt", lambda f: pt(f, original()), {"clip_l": L}),
    "original before torch 1.6": (
        "original_pt",
        lambda f: pt(f, original(), _use_new_zipfile_serialization=False),
        {"clip_l": L},
    ),
    "list of tables": (
        "token_list",
        lambda f: pt(f, [{"<a>": L[0]}, {"<b>": L[1:]}]),
        {"clip_l": L},
    ),
    "bare tensor": ("raw_tensor", lambda f: pt(f, L), {"clip_l": L}),
    "bare vector": ("raw_tensor", lambda f: pt(f, L[0].clone()), {"clip_l": L[:1]}),
    "bundle alone": ("lora_bundle", lambda f: st(f, BUNDLE), {"clip_l": L, "clip_g": G}),
    "bundle as A1111's reader has it": (
        "lora_bundle",
        lambda f: st(f, {"bundle_emb.cat.string_to_param.*": L}),
        {"clip_l": L},
    ),
    "card with chunk": ("a1111_card", card_with_chunk, {"clip_l": L}),
    "card of pixels": ("a1111_card", card_of_pixels, {"clip_l": L}),
    "card of pixels, WebP": (
        "a1111_card",
        lambda f: card_of_pixels(f, ".webp"),
        {"clip_l": L},
    ),
}
"""What: id of the format it is to be taken for, maker, vectors to come out."""

REFUSED: dict[str, Vectors] = {
    "LoRA": LORA,
    "checkpoint": {"model.diffusion_model.out.weight": torch.ones(2, 768)},
    "training state": {"state_dict": torch.ones(2, 768)},
    "VAE": {"first_stage_model.x": torch.ones(2, 768)},
    "ControlNet": {"control_model.x": torch.ones(2, 768)},
    "text encoder": {"text_model.encoder.layers.0.weight": torch.ones(768, 768)},
    "vision encoder": {"vision_model.x": torch.ones(2, 768)},
    "IP-Adapter": {"image_proj.norm.weight": torch.ones(768)},
    "diffusion model": {"double_blocks.0.weight": torch.ones(768, 768)},
    "hypernetwork": {"320": torch.ones(2, 320), "768": torch.ones(2, 768)},
    "output embedding": {"emp_params": L, "emp_params_out": L + 1},
    "XTI": {"IN01": L, "OUT03": L + 1},
    "conditioning": {"prompt_embeds": torch.ones(2, 768)},
}
"""By the key of refusals.KINDS: what such a file holds."""
