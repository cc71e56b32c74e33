"""Runs the table's prompts on ComfyUI's own tokenizers."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from .cases import ERROR, NAMES, cases
from .readings import content, meant, vectors, written

REFUSED = "refused"
WIDTHS = {"clip_l": 768, "clip_g": 1280}


def tokenizers(folder: Path):
    """SDXL's two tokenizers over `folder`, which is filled with the table's embeddings."""
    from comfy.sdxl_clip import SDXLTokenizer

    by_key = {key: vectors(key, width) for key, width in WIDTHS.items()}
    for name in NAMES:
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True, parents=True)
        save_file({key: by_key[key][name].contiguous() for key in WIDTHS}, path)
    return SDXLTokenizer(embedding_directory=[str(folder)])


def core_readings(part) -> dict[str, str]:
    """What ComfyUI alone makes of every prompt; an exception by its name."""
    found = {}
    for prompt in cases():
        try:
            found[prompt] = written(part, content(part, part.tokenize_with_weights(prompt)))
        except IndexError as error:
            found[prompt] = f"{type(error).__name__}: {error}"
    return found


def meant_readings(part) -> dict[str, str]:
    """What every prompt means."""
    return {
        prompt: REFUSED if meaning == ERROR else written(part, meant(part, meaning))
        for prompt, meaning in cases().items()
    }
