"""The library over the folders that ComfyUI has, those of extra_model_paths.yaml included."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.saving import save


def word(name: str, value: float) -> Embedding:
    return Embedding(name, {"clip_l": torch.full((1, 768), value)})


def module_of(file: Path) -> ModuleType:
    """A module by its file: the host's `utils` is a name that others take too."""
    spec = importlib.util.spec_from_file_location(f"comfyui_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_extra_model_paths_are_in_the_library(
    comfyui_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths
    from comfy.sd1_clip import load_embed

    from textual_inversion.host.folders import embedding_folders, library, listed_files

    kinds = copy.deepcopy(folder_paths.folder_names_and_paths)
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", kinds)
    one, two = (tmp_path / ui / "embeddings" for ui in ("one", "two"))
    for folder, value in ((one, 1.0), (two, 2.0)):
        save(word("twin", value), folder)
    save(word("style/far", 3.0), two)
    formats.write(word("card", 4.0), two, "a1111_card")
    places = {
        ui: {"base_path": str(tmp_path / ui), "embeddings": "embeddings"} for ui in ("one", "two")
    }
    (tmp_path / "extra_model_paths.yaml").write_text(json.dumps(places))
    extra_config = module_of(comfyui_path / "utils" / "extra_config.py")
    extra_config.load_extra_path_config(str(tmp_path / "extra_model_paths.yaml"))

    assert embedding_folders()[-2:] == [one, two]
    files = library()
    assert files.resolve("far") == two / "style" / "far.safetensors"
    assert files.resolve("twin") == one / "twin.safetensors"
    assert files.duplicates("twin") == [two / "twin.safetensors"]
    assert {"style/far.safetensors", "card.png"} <= {
        name.replace("\\", "/") for name in listed_files()
    }
    folders = folder_paths.get_folder_paths("embeddings")
    # ComfyUI itself takes either twin: the folders that it looks into are a set.
    theirs = load_embed("style/far", folders, 768, "clip_l")
    assert torch.equal(theirs, files.read("style/far").vectors["clip_l"])
    save(word("later", 5.0), two)
    assert files.read("later").vectors["clip_l"][0, 0] == 5.0
