"""What a workflow needs: read from the page's format, the API's, and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin

from textual_inversion.embeddings_io.carrier import pack
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.needs import main, needs_of, report, workflow_in
from textual_inversion.embeddings_io.safetensors_bytes import to_bytes
from textual_inversion.embeddings_io.saving import save

ROOT = Path(__file__).resolve().parents[2]


def made(name: str) -> Embedding:
    return Embedding(name, {"clip_l": torch.ones(1, 768)})


@pytest.fixture
def library(tmp_path: Path) -> Library:
    folder = tmp_path / "embeddings"
    save(made("here"), folder)
    save(made("style/ink"), folder)
    return Library([folder])


def api(*texts: str, **nodes: tuple[str, dict]) -> dict:
    workflow = {
        str(number): {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["9", 1]}}
        for number, text in enumerate(texts)
    }
    return workflow | {
        name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()
    }


def sources(workflow: dict, library: Library, **options) -> dict[str, str | None]:
    return {need.name: need.source for need in needs_of(workflow, library, **options)}


def test_texts_of_all_nodes_are_read(library: Library) -> None:
    workflow = api(
        'photo,(embedding:here:1.2),embedding:"gone two"', "{2*embedding:ink} embedding:here"
    )
    assert sources(workflow, library) == {
        "here": "here.safetensors",
        "gone two": None,
        "style/ink": "style/ink.safetensors",
    }
    (need,) = [one for one in needs_of(workflow, library) if one.name == "here"]
    assert need.nodes == ("CLIPTextEncode (0)", "CLIPTextEncode (1)")


def test_the_page_format_with_subgraphs_and_without_muted_nodes(library: Library) -> None:
    def node(number: int, text: str, mode: int = 0) -> dict:
        return {"id": number, "type": "CLIPTextEncode", "mode": mode, "widgets_values": [text]}

    workflow = {
        "nodes": [node(1, "embedding:one"), node(2, "embedding:muted", 2), node(3, "x", 4)],
        "definitions": {"subgraphs": [{"nodes": [node(4, "embedding:inner")]}]},
        "version": 0.4,
    }
    assert sources(workflow, library) == {"one": None, "inner": None}


def test_what_the_workflow_brings_or_makes_is_not_missing(library: Library) -> None:
    workflow = api(
        "embedding:carried embedding:trained embedding:saved embedding:told embedding:bundled "
        "embedding:lost",
        c=("TI_EmbeddingCarrier", {"data": pack(made("carried"))}),
        t=("TI_TrainEmbedding", {"name": "trained", "initializer_text": "cat"}),
        k=("TI_Concept", {"name": "told", "initializer_text": "dog"}),
        s=("TI_SaveEmbedding", {"embedding": ["t", 0], "name": "saved", "format": "comfyui"}),
        l=("LoraLoader", {"lora_name": "l.safetensors", "strength_clip": 1.0}),
    )
    bundled = {"l.safetensors": ["bundled"]}
    assert sources(workflow, library, bundled=lambda text: bundled.get(text, [])) == {
        "carried": "carried by TI_EmbeddingCarrier (c)",
        "trained": "trained by TI_TrainEmbedding (t)",
        "saved": "saved by TI_SaveEmbedding (s)",
        "told": "trained by TI_Concept (k)",
        "bundled": "in the LoRA l.safetensors",
        "lost": None,
    }


def test_a_chosen_file_is_needed_too(library: Library) -> None:
    workflow = api(l=("TI_LoadEmbedding", {"embedding_name": "style/gone.safetensors"}))
    assert sources(workflow, library) == {"style/gone.safetensors": None}


def test_a_formula_with_a_mistake_still_shows_its_names(library: Library) -> None:
    assert sources(api("{embedding:here + embedding:gone + }"), library) == {
        "here": "here.safetensors",
        "gone": None,
    }


def test_the_report_has_the_missing_first(library: Library) -> None:
    lines = report(needs_of(api("embedding:here embedding:hree"), library)).splitlines()
    assert lines[0].startswith("MISSING embedding:hree, used by CLIPTextEncode (0).")
    assert "Did you mean 'here'?" in lines[0]
    assert lines[1] == "embedding:here is here.safetensors, used by CLIPTextEncode (0)."
    assert report([]) == "This workflow names no embeddings."


def picture(path: Path, **entries: str) -> Path:
    information = PngImagePlugin.PngInfo()
    for key, value in entries.items():
        information.add_text(key, value)
    Image.new("RGB", (4, 4)).save(path, pnginfo=information)
    return path


def test_pictures_hold_workflows(tmp_path: Path) -> None:
    text = json.dumps(api("embedding:x"))
    assert workflow_in(picture(tmp_path / "a.png", prompt=text)) == api("embedding:x")
    page = json.dumps({"nodes": []})
    assert workflow_in(picture(tmp_path / "b.png", prompt=text, workflow=page)) == {"nodes": []}
    exif = Image.Exif()
    exif[0x010F] = f"prompt:{text}"
    Image.new("RGB", (4, 4)).save(tmp_path / "c.webp", exif=exif)
    assert workflow_in(tmp_path / "c.webp") == api("embedding:x")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\x89PNG\r\n", b'"text"', b"[" * 5000])
@pytest.mark.parametrize("ending", [".json", ".png"])
def test_a_file_without_a_workflow_is_one_sentence(
    tmp_path: Path, content: bytes, ending: str
) -> None:
    path = tmp_path / f"bad{ending}"
    path.write_bytes(content)
    with pytest.raises(EmbeddingError, match=f"bad{ending}"):
        workflow_in(path)


def test_a_plain_picture_has_none(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="has no workflow inside"):
        workflow_in(picture(tmp_path / "plain.png"))


def test_the_command(library: Library, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = str(library.folders[0])
    whole, lacking = tmp_path / "whole.json", tmp_path / "lacking.json"
    whole.write_text(json.dumps(api("embedding:here")))
    lacking.write_text(json.dumps(api("embedding:gone")))
    assert main([str(whole), "--embeddings", folder]) == 0
    assert main([str(whole), str(lacking), "--embeddings", folder]) == 1
    assert "MISSING embedding:gone" in capsys.readouterr().out
    assert main([str(tmp_path / "none.json"), str(lacking), "--embeddings", folder]) == 2


def test_the_command_looks_into_loras(library: Library, tmp_path: Path) -> None:
    loras = tmp_path / "loras"
    bundle = loras / "style" / "l.safetensors"
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(to_bytes({"bundle_emb.inside.clip_l": torch.ones(1, 768)}, {}))
    options = ["--embeddings", str(library.folders[0]), "--loras", str(loras)]
    for name, status in (("style/l.safetensors", 0), ("../loras/style/l.safetensors", 1)):
        workflow = tmp_path / "workflow.json"
        lora = ("LoraLoader", {"lora_name": name, "strength_clip": 1.0})
        workflow.write_text(json.dumps(api("embedding:inside", l=lora)))
        assert main([str(workflow), *options]) == status


def test_the_shipped_examples_are_read(library: Library) -> None:
    example = ROOT / "example_workflows" / "Use an Embedding (SD1.5).json"
    assert sources(workflow_in(example), library) == {"my-word": None}
