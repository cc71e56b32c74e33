"""Load Embedding, Save Embedding and Embedding Prompt in a real server."""

from __future__ import annotations

import io
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from textual_inversion.devtools import workflows
from textual_inversion.devtools.client import RefusedError
from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.saving import save

CHECKPOINT = "microworld.safetensors"


def vectors(seed: int, count: int = 3) -> torch.Tensor:
    """Vectors as long as ordinary words of the text encoder."""
    rows = torch.randn(count, 768, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=1, keepdim=True) * 0.39


@pytest.fixture(scope="module")
def folder(server) -> Path:
    """twin.safetensors and, of the same vectors, one of A1111's files with a space in its name."""
    folder = server.base.embeddings
    save(Embedding("twin", {"clip_l": vectors(1)}), folder)
    save(Embedding("other", {"clip_l": vectors(2)}), folder)
    (folder / "from a1111").mkdir(exist_ok=True)
    table = {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors(1)}, "step": 10}
    torch.save(table, folder / "from a1111" / "my word.pt")
    (folder / "lora.safetensors").write_bytes((folder / "twin.safetensors").read_bytes())
    _as_lora(folder / "lora.safetensors")
    return folder


def _as_lora(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"lora_unet_x.lora_up.weight": torch.ones(2, 2)}, path)


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def prompted(prompt, clip=None, **extra: dict) -> dict:
    """The classic workflow with further nodes, and the prompt's text encoder taken from `clip`."""
    workflow = workflows.sampling(CHECKPOINT, prompt, steps=1, prefix="nodes") | extra
    if clip is not None:
        workflow["positive"]["inputs"]["clip"] = clip
    return workflow


def pixels(client, run) -> numpy.ndarray:
    assert run.succeeded, run.error
    (image,) = run.outputs[workflows.SAVED]["images"]
    return numpy.asarray(Image.open(io.BytesIO(client.picture(image))))


def drawn(client, prompt, clip=None, **extra: dict) -> numpy.ndarray:
    return pixels(client, client.run(prompted(prompt, clip, **extra)))


def loader(name: str, clip: bool = True) -> dict:
    linked = {"clip": [workflows.LOADER, 1]} if clip else {}
    return node("TI_LoadEmbedding", embedding_name=name, **linked)


def shown(name: str) -> dict:
    """Load Embedding alone, without any model."""
    return {
        "load": loader(name, clip=False),
        "show": node("PreviewAny", source=["load", 2]),
    }


def test_the_list_is_comfyuis_own(client, folder: Path) -> None:
    inputs = client.get("/object_info/TI_LoadEmbedding")["TI_LoadEmbedding"]["input"]
    options = inputs["required"]["embedding_name"]
    listed = options[1]["options"] if options[0] == "COMBO" else options[0]
    core = client.get("/models/embeddings")
    assert listed[: len(core)] == core
    assert all(name.endswith((".png", ".webp")) for name in listed[len(core) :])
    assert str(Path("from a1111") / "my word.pt") in listed


def test_a_loaded_file_draws_what_core_draws_with_the_same_vectors(client, folder: Path) -> None:
    core = drawn(client, "a photo of embedding:twin")
    name = str(Path("from a1111") / "my word.pt")
    ours = drawn(client, ["load", 2], ["load", 0], load=loader(name))
    alone = drawn(client, "embedding:twin")
    assert (ours == alone).all()
    assert not (core == alone).all()
    sentence = drawn(
        client, "a photo of embedding:from_a1111/my_word", ["load", 0], load=loader(name)
    )
    assert (sentence == core).all()


def test_the_shared_clip_does_not_learn_the_word(client, folder: Path) -> None:
    name = str(Path("from a1111") / "my word.pt")
    extra = {
        "load": loader(name),
        "again": node("CLIPTextEncode", clip=["load", 0], text="x embedding:from_a1111/my_word"),
    }
    unknown = drawn(client, "x embedding:from_a1111/my_word", **extra)
    assert (unknown == drawn(client, "x")).all()


def test_what_was_loaded_is_told_in_the_history(client, folder: Path) -> None:
    run = client.run(shown("twin.safetensors"))
    assert run.succeeded, run.error
    (text,) = run.outputs["load"]["text"]
    assert text.splitlines()[:2] == ["embedding:twin", "3 vectors: clip_l [3, 768]"]


def test_a_changed_file_is_encoded_again_and_an_unchanged_one_is_not(client, folder: Path) -> None:
    save(Embedding("changing", {"clip_l": vectors(3)}), folder, overwrite=True)
    workflow = prompted(["load", 2], ["load", 0], load=loader("changing.safetensors"))
    before = pixels(client, client.run(workflow))
    cached = client.run(workflow)
    assert {"load", "positive", "sample"} <= _cached(cached)
    save(Embedding("changing", {"clip_l": vectors(4)}), folder, overwrite=True)
    changed = client.run(workflow)
    assert not {"load", "positive", "sample"} & _cached(changed)
    assert not (pixels(client, changed) == before).all()


def _cached(run) -> set[str]:
    return {
        name for kind, data in run.messages if kind == "execution_cached" for name in data["nodes"]
    }


@pytest.mark.parametrize("name", ["../twin.safetensors", "/etc/passwd", "gone.pt", ""])
def test_a_name_outside_the_list_is_refused(client, folder: Path, name: str) -> None:
    """By the server when it is posted, or, where the server does not look, by the node."""
    try:
        run = client.run(shown(name))
    except RefusedError as refused:
        assert "value_not_in_list" in str(refused)
    else:
        assert run.failed_node == "load"
        assert run.error.startswith(f"Embedding '{name}' not found")


def test_another_kind_of_file_gets_one_sentence(client, folder: Path) -> None:
    run = client.run(shown("lora.safetensors"))
    assert run.failed_node == "load"
    assert run.error.splitlines()[0].startswith("lora.safetensors is a LoRA, not an embedding; put")


@pytest.mark.parametrize(
    ("tricky", "spaced"),
    [
        ("photo,embedding:twin", "photo, embedding:twin"),
        ("embedding:twin,embedding:other", "embedding:twin , embedding:other"),
        ("[embedding:twin]", "[ embedding:twin ]"),
        ("(embedding:twin:1.4)", "(embedding:twin:1.4)"),
        ("photo embedding:other:0.5", "photo (embedding:other:0.5)"),
    ],
)
def test_tricky_text_draws_what_was_meant(client, folder: Path, tricky: str, spaced: str) -> None:
    expand = node("TI_EmbeddingPrompt", text=tricky, missing="error")
    assert (drawn(client, ["expand", 0], expand=expand) == drawn(client, spaced)).all()


def test_keywords_and_the_report(client, folder: Path) -> None:
    expand = node(
        "TI_EmbeddingPrompt",
        text="twin,other",
        missing="error",
        keywords="twin",
        library_keywords=False,
    )
    run = client.run(prompted(["expand", 0], expand=expand))
    assert (pixels(client, run) == drawn(client, "embedding:twin , other")).all()
    (text,) = run.outputs["expand"]["text"]
    assert text.splitlines() == [
        "embedding:twin ,other",
        "",
        "embedding:twin = twin.safetensors, 3 vectors: clip_l [3, 768], keyword 'twin'",
    ]
    expand["inputs"]["library_keywords"] = True
    everything = drawn(client, ["expand", 0], expand=expand)
    assert (everything == drawn(client, "embedding:twin , embedding:other")).all()


def test_a_missing_name_stops_the_prompt_with_near_names(client, folder: Path) -> None:
    expand = node("TI_EmbeddingPrompt", text="a embedding:twinn", missing="error")
    run = client.run(prompted(["expand", 0], expand=expand))
    assert run.failed_node == "expand"
    assert "Embedding 'twinn' not found. Did you mean 'twin'?" in run.error
    for missing in ("warning", "drop"):
        expand["inputs"]["missing"] = missing
        run = client.run(prompted(["expand", 0], expand=expand))
        assert (pixels(client, run) == drawn(client, "a")).all()
        assert "Warning: Embedding 'twinn' not found" in run.outputs["expand"]["text"][0]


def test_a_new_file_makes_a_failed_prompt_work(client, folder: Path) -> None:
    expand = node("TI_EmbeddingPrompt", text="a embedding:later", missing="drop")
    before = drawn(client, ["expand", 0], expand=expand)
    save(Embedding("later", {"clip_l": vectors(6)}), folder, overwrite=True)
    after = drawn(client, ["expand", 0], expand=expand)
    assert not (before == after).all()
    (folder / "later.safetensors").unlink()


def saver(**inputs) -> dict:
    return {
        "load": loader("twin.safetensors", clip=False),
        "picture": node("EmptyImage", width=96, height=64, batch_size=1, color=0x2080C0),
        "save": node("TI_SaveEmbedding", embedding=["load", 1], preview=["picture", 0], **inputs),
    }


def test_a_saved_embedding_is_usable_without_restart(client, folder: Path) -> None:
    run = client.run(saver(name="saved/copy", overwrite=False))
    assert run.succeeded, run.error
    path = folder / "saved" / "copy.safetensors"
    (text,) = run.outputs["save"]["text"]
    assert text.startswith("embedding:saved/copy\n3 vectors") and str(path) in text
    with Image.open(folder / "saved" / "copy.preview.png") as thumbnail:
        assert thumbnail.size == (96, 64) and thumbnail.getpixel((5, 5)) == (0x20, 0x80, 0xC0)
    assert "saved/copy" in [name.replace("\\", "/") for name in client.get("/embeddings")]
    assert (drawn(client, "embedding:saved/copy") == drawn(client, "embedding:twin")).all()


def test_saving_over_another_embedding_must_be_asked_for(client, folder: Path) -> None:
    before = (folder / "other.safetensors").read_bytes()
    run = client.run(saver(name="other", overwrite=False))
    assert "'other' exists already" in run.error
    assert (folder / "other.safetensors").read_bytes() == before
    assert client.run(saver(name="other", overwrite=True)).succeeded
    assert (folder / "other.safetensors").read_bytes() != before
    save(Embedding("other", {"clip_l": vectors(2)}), folder, overwrite=True)


@pytest.mark.parametrize("name", ["../out", "my word", "con", "a,b", "x" * 101, "/abs"])
def test_a_bad_name_leaves_nothing_behind(client, folder: Path, name: str) -> None:
    before = sorted(folder.parent.parent.rglob("*.safetensors"))
    run = client.run(saver(name=name, overwrite=True))
    assert run.error.startswith("The embedding name '")
    assert sorted(folder.parent.parent.rglob("*.safetensors")) == before
