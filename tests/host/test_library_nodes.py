"""Converting, bundling and describing embeddings in a real server, and what ComfyUI shows of it."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from urllib.parse import quote

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from textual_inversion.devtools import workflows
from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.metadata import describe
from textual_inversion.embeddings_io.saving import save

CHECKPOINT = "microworld.safetensors"
TURN = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


def vectors(seed: int, width: int = 768, count: int = 2) -> torch.Tensor:
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=1, keepdim=True) * 0.39


@pytest.fixture(scope="module")
def folder(server) -> Path:
    """lib/: one word in five forms, others for other models; a LoRA that brings the word along."""
    folder = server.base.embeddings
    word = Embedding("lib/word", {"clip_l": vectors(1)}, describe(name="word", author="Ada"))
    save(word, folder)
    formats.write(word.renamed("lib/old"), folder, "a1111_pt")
    formats.write(word.renamed("lib/card"), folder, "a1111_card")
    save(Embedding("lib/xl", {"clip_l": vectors(1), "clip_g": vectors(2, 1280)}), folder)
    every = {"clip_l": vectors(1), "clip_g": vectors(2, 1280), "t5xxl": vectors(4, 4096)}
    save(Embedding("lib/sd3", every), folder)
    save(Embedding("lib/sd2", {"clip_h": vectors(3, 1024)}), folder)
    loras = server.base.folder / "models" / "loras"
    generator = torch.Generator().manual_seed(9)
    tensors = {
        f"{TURN}.lora_up.weight": torch.randn(768, 4, generator=generator),
        f"{TURN}.lora_down.weight": torch.randn(4, 768, generator=generator),
        "bundle_emb.brought.clip_l": vectors(1),
        "bundle_emb.second.clip_l": vectors(5),
    }
    save_file(tensors, loras / "turn.safetensors", {"ss_network_dim": "4"})
    return folder


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def drawn(client, prompt, clip=None, **extra: dict) -> numpy.ndarray:
    workflow = workflows.sampling(CHECKPOINT, prompt, steps=1, prefix="library") | extra
    if clip is not None:
        workflow["positive"]["inputs"]["clip"] = clip
    run = client.run(workflow)
    assert run.succeeded, run.error
    (image,) = run.outputs[workflows.SAVED]["images"]
    return numpy.asarray(Image.open(io.BytesIO(client.picture(image))))


def told(client, node_id: str, **extra: dict) -> str:
    run = client.run(extra)
    assert run.succeeded, run.error
    return run.outputs[node_id]["text"][0]


def converted(client, file: str, **inputs) -> list[Path]:
    choice = {"format": "comfyui", "name": "", "place": "models/embeddings", "overwrite": False}
    run = client.run(
        {
            "convert": node("TI_ConvertEmbedding", embedding_name=file, **(choice | inputs)),
            "show": node("PreviewAny", source=["convert", 1]),
        }
    )
    assert run.succeeded, run.error
    return [Path(line) for line in run.outputs["show"]["text"][0].splitlines()]


@pytest.mark.parametrize("name", ["lib/old.pt", "lib/card.png"])
def test_a_converted_file_draws_the_same_through_core_alone(
    client, folder: Path, name: str
) -> None:
    new = f"lib/from_{Path(name).stem}"
    (path,) = converted(client, str(Path(name)), name=new)
    assert path == folder / f"{new}.safetensors"
    expected = drawn(client, "a embedding:lib/word")
    assert (drawn(client, f"a embedding:{new}") == expected).all()
    assert not (drawn(client, "a") == expected).all()


@pytest.mark.parametrize(
    ("format_name", "file"),
    [
        ("a1111_pt", "lib/xl.safetensors"),
        ("a1111_card", "lib/word.safetensors"),
        ("diffusers", "lib/xl.safetensors"),
        ("sd3_flux", "lib/sd3.safetensors"),
    ],
)
def test_every_format_goes_to_the_output_folder_and_back(
    client, server, folder: Path, format_name: str, file: str
) -> None:
    place = {"place": "output/embeddings", "format": format_name, "overwrite": True}
    files = converted(client, str(Path(file)), name="out/xl", **place)
    assert all(path.parent == server.base.output / "embeddings" / "out" for path in files)
    back = formats.read(files[0])
    assert torch.equal(back.vectors["clip_l"], vectors(1))


def test_a_card_is_listed_and_loaded(client, folder: Path) -> None:
    loader = node(
        "TI_LoadEmbedding", embedding_name=str(Path("lib/card.png")), clip=[workflows.LOADER, 1]
    )
    ours = drawn(client, "a embedding:lib/card", ["load", 0], load=loader)
    assert (ours == drawn(client, "a embedding:lib/word")).all()


def test_load_embedding_says_what_the_file_is(client, folder: Path) -> None:
    alone = {"show": node("PreviewAny", source=["load", 2])}
    name = str(Path("lib/word.safetensors"))
    lines = told(
        client, "load", load=node("TI_LoadEmbedding", embedding_name=name), **alone
    ).splitlines()
    assert lines == [
        "embedding:lib/word",
        "2 vectors: clip_l [2, 768]",
        "for Stable Diffusion 1.x; mean norm clip_l 0.39",
        "file: ComfyUI safetensors",
        "title: lib/word",
        "trigger_words: embedding:lib/word",
        "author: Ada",
    ]


def with_clip(name: str) -> dict[str, dict]:
    return {
        workflows.LOADER: node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "load": node(
            "TI_LoadEmbedding", embedding_name=str(Path(name)), clip=[workflows.LOADER, 1]
        ),
        "show": node("PreviewAny", source=["load", 2]),
    }


def test_a_clip_that_can_use_only_a_part_is_told_in_one_sentence(client, folder: Path) -> None:
    lines = told(client, "load", **with_clip("lib/xl.safetensors")).splitlines()
    warnings = [line for line in lines if line.startswith("Warning: ")]
    assert warnings == [
        "Warning: 'lib/xl' is made for SDXL (clip_l 768 and clip_g 1280); this CLIP has clip_l "
        "768: only clip_l will be used."
    ]


def test_a_clip_that_cannot_use_it_stops_there(client, server, folder: Path) -> None:
    run = client.run(with_clip("lib/sd2.safetensors"))
    assert run.failed_node == "load"
    assert run.error.splitlines()[0] == (
        "'lib/sd2' is made for Stable Diffusion 2.x (clip_h 1024); this CLIP has clip_l 768: it "
        "cannot be used here; connect the CLIP of a model that it was made for."
    )
    log = server.base.log.read_text(encoding="utf-8", errors="replace")
    assert "shape mismatch" not in log


def test_embeddings_of_a_lora_work_in_prompts_and_get_files(client, folder: Path) -> None:
    lora = node(
        "TI_EmbeddingsFromLora",
        lora_name="turn.safetensors",
        names="",
        clip=[workflows.LOADER, 1],
    )
    expected = drawn(client, "a embedding:lib/word")
    assert (drawn(client, "a embedding:brought", ["lora", 0], lora=lora) == expected).all()
    saved = client.run(
        {
            "lora": node("TI_EmbeddingsFromLora", lora_name="turn.safetensors", names=""),
            "save": node("TI_SaveEmbedding", embedding=["lora", 1], name="", overwrite=True),
        }
    )
    assert saved.succeeded, saved.error
    assert (drawn(client, "a embedding:brought") == expected).all()
    assert torch.equal(formats.read(folder / "second.safetensors").vectors["clip_l"], vectors(5))


def test_a_name_that_the_lora_lacks_is_an_error(client, folder: Path) -> None:
    lora = node("TI_EmbeddingsFromLora", lora_name="turn.safetensors", names="brought, gone")
    run = client.run({"lora": lora, "show": node("PreviewAny", source=["lora", 2])})
    assert "no bundled embedding 'gone'; it has brought, second" in run.error


def test_a_bundled_lora_is_the_same_lora(client, server, folder: Path) -> None:
    bundle = {
        "packed": node("TI_EmbeddingsFromLora", lora_name="turn.safetensors", names="second"),
        "bundle": node(
            "TI_BundleIntoLora",
            lora_name="turn.safetensors",
            embeddings=["packed", 1],
            name="made/new",
            overwrite=True,
        ),
    }
    run = client.run(bundle)
    assert run.succeeded, run.error
    loras = server.base.folder / "models" / "loras"
    old, new = (load_file(loras / name) for name in ("turn.safetensors", "made/new.safetensors"))
    assert all(torch.equal(old[key], new[key]) for key in old)

    def through(name: str) -> numpy.ndarray:
        loader = node(
            "LoraLoader",
            model=[workflows.LOADER, 0],
            clip=[workflows.LOADER, 1],
            lora_name=name,
            strength_model=1.0,
            strength_clip=1.0,
        )
        return drawn(client, "a red star", ["turned", 1], turned=loader)

    turned = through("turn.safetensors")
    assert (through(str(Path("made/new.safetensors"))) == turned).all()
    assert not (drawn(client, "a red star") == turned).all()


def saved_with_picture(client, name: str, inside: bool) -> None:
    run = client.run(
        {
            "load": node("TI_LoadEmbedding", embedding_name=str(Path("lib/word.safetensors"))),
            "picture": node("EmptyImage", width=96, height=64, batch_size=1, color=0x2080C0),
            "save": node(
                "TI_SaveEmbedding",
                embedding=["load", 1],
                preview=["picture", 0],
                name=name,
                overwrite=True,
                picture_in_file=inside,
            ),
        }
    )
    assert run.succeeded, run.error


def shown_picture(client, name: str) -> Image.Image:
    """What ComfyUI's model library asks for."""
    (listed,) = [
        entry
        for entry in client.get("/experiment/models/embeddings")
        if entry["name"].replace("\\", "/") == f"{name}.safetensors"
    ]
    path = f"/experiment/models/preview/embeddings/{listed['pathIndex']}/{quote(listed['name'])}"
    return Image.open(io.BytesIO(client.get_bytes(path))).convert("RGB")


def said(client, name: str) -> dict[str, str]:
    return client.get("/view_metadata/embeddings", filename=f"{name}.safetensors")


@pytest.mark.parametrize("inside", [False, True])
def test_the_model_library_shows_picture_and_metadata(client, folder: Path, inside: bool) -> None:
    name = f"lib/shown_{inside}"
    saved_with_picture(client, name, inside)
    for beside in (True, False):
        if not beside:
            (folder / f"{name}.preview.png").unlink()
            if not inside:
                break
        picture = shown_picture(client, name)
        assert picture.size == (96, 64)
        pixel = numpy.array(picture.getpixel((5, 5)), float)
        assert abs(pixel - (0x20, 0x80, 0xC0)).max() < 6
    metadata = said(client, name)
    assert metadata["modelspec.sai_model_spec"] == "1.0.1"
    assert metadata["modelspec.title"] == name and metadata["modelspec.author"] == "Ada"
    assert ("ssmd_cover_images" in metadata) == ("modelspec.thumbnail" in metadata) == inside
    data = data_of((folder / f"{name}.safetensors").read_bytes())[1]
    assert metadata["modelspec.hash_sha256"] == "0x" + hashlib.sha256(data).hexdigest()


def test_describing_changes_what_is_shown_and_no_tensor(client, folder: Path) -> None:
    saved_with_picture(client, "lib/told", True)
    path = folder / "lib" / "told.safetensors"
    before = path.read_bytes()
    text = told(
        client,
        "describe",
        describe=node(
            "TI_DescribeEmbedding",
            embedding_name=str(Path("lib/told.safetensors")),
            title="A told word",
            trigger_words="told word",
            author="-",
            license="CC-BY-4.0",
            description="",
            usage_hint="",
            tags="a, b",
        ),
    )
    assert "license: CC-BY-4.0" in text and "author" not in text
    metadata = said(client, "lib/told")
    assert metadata["modelspec.title"] == "A told word" and metadata["modelspec.tags"] == "a, b"
    assert metadata["modelspec.trigger_phrase"] == "told word"
    assert "modelspec.author" not in metadata and "ssmd_cover_images" in metadata
    assert data_of(path.read_bytes()) == data_of(before) and path.read_bytes() != before


def data_of(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]
    return header, content[8 + length :]
