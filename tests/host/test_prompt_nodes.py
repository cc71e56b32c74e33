"""Encode Embedding Prompt, Embedding Carrier and Workflow Needs in a real server."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from textual_inversion.devtools import workflows
from textual_inversion.embeddings_io.carrier import pack, unpack
from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.saving import save

CHECKPOINT = "microworld.safetensors"


def vectors(seed: int, count: int = 2) -> torch.Tensor:
    rows = torch.randn(count, 768, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=1, keepdim=True) * 0.39


def made(name: str, seed: int, count: int = 2) -> Embedding:
    return Embedding(name, {"clip_l": vectors(seed, count)})


@pytest.fixture(scope="module")
def folder(server) -> Path:
    folder = server.base.embeddings
    for name, seed in (("first", 1), ("second", 2)):
        save(made(name, seed), folder, overwrite=True)
    (folder / "my pet (2).safetensors").write_bytes((folder / "first.safetensors").read_bytes())
    return folder


def node(class_type: str, **inputs) -> dict:
    return {"class_type": class_type, "inputs": inputs}


def encoder(text, clip=(workflows.LOADER, 1), **inputs) -> dict:
    return node("TI_EncodeEmbeddingPrompt", clip=list(clip), text=text, missing="error", **inputs)


def drawing(positive: dict, **extra: dict) -> dict:
    """The classic workflow with another node for the positive prompt."""
    workflow = workflows.sampling(CHECKPOINT, "", steps=1, prefix="prompt_nodes") | extra
    return workflow | {"positive": positive}


def core(text) -> dict:
    return node("CLIPTextEncode", clip=[workflows.LOADER, 1], text=text)


def pixels(client, workflow: dict) -> numpy.ndarray:
    run = client.run(workflow)
    assert run.succeeded, run.error
    (image,) = run.outputs[workflows.SAVED]["images"]
    return numpy.asarray(Image.open(io.BytesIO(client.picture(image))))


def report_of(run, node_id: str = "positive") -> list[str]:
    (text,) = run.outputs[node_id]["text"]
    return text.splitlines()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a photo of embedding:first", "a photo of embedding:first"),
        ("(embedding:first:1.3), a red square", "(embedding:first:1.3), a red square"),
        ("a cat", "a cat"),
        ("photo,embedding:first", "photo, embedding:first"),
        ('photo,embedding:"my pet (2)"', "photo, embedding:first"),
        ("<second>,sky", "embedding:second ,sky"),
        ("embedding:first[0:2]", "embedding:first"),
        ("{0.5*embedding:first + 0.5*embedding:first}", "embedding:first"),
    ],
)
def test_the_picture_is_that_of_cores_encoder(client, folder: Path, text: str, plain: str) -> None:
    assert (pixels(client, drawing(encoder(text))) == pixels(client, drawing(core(plain)))).all()


def test_the_report_is_in_the_history(client, folder: Path) -> None:
    run = client.run(drawing(encoder("photo,(embedding:first:1.3)")))
    assert report_of(run) == [
        "embedding:first = first.safetensors, 2 vectors: clip_l [2, 768], weight 1.3",
        "clip_l: 4 of 75 tokens used, 71 left.",
    ]


def test_a_missing_name_stops_with_the_place(client, folder: Path) -> None:
    run = client.run(drawing(encoder("a embedding:fisrt, sky")))
    assert run.failed_node == "positive"
    assert "Embedding 'fisrt' not found. Did you mean 'first'?" in run.error
    assert "a >>>embedding:fisrt<<<, sky" in run.error


def test_wires_are_words(client, folder: Path) -> None:
    load = node("TI_LoadEmbedding", embedding_name="second.safetensors")
    by_wire = drawing(
        encoder("a second thing", embedding_1=["load", 1], bare_names="connected"), load=load
    )
    plain = pixels(client, drawing(core("a embedding:second thing")))
    assert (pixels(client, by_wire) == plain).all()
    assert any("keyword 'second'" in line for line in report_of(client.run(_again(by_wire))))


def _again(workflow: dict) -> dict:
    """The same with another seed, so that its nodes report anew."""
    changed = json.loads(json.dumps(workflow))
    changed["positive"]["inputs"]["keywords"] = "nobody"
    return changed


def test_words_of_chained_loaders(client, folder: Path) -> None:
    one = node("TI_LoadEmbedding", embedding_name="first.safetensors", clip=[workflows.LOADER, 1])
    two = node("TI_LoadEmbedding", embedding_name="my pet (2).safetensors", clip=["one", 0])
    text = "embedding:first,embedding:my_pet_2"
    plain = pixels(client, drawing(core("embedding:first , embedding:first")))
    for positive in (encoder(text, ("two", 0)), core(text) | {}):
        positive["inputs"]["clip"] = ["two", 0]
        assert (pixels(client, drawing(positive, one=one, two=two)) == plain).all()


def cached(run) -> set[str]:
    return {n for kind, data in run.messages if kind == "execution_cached" for n in data["nodes"]}


def test_a_replaced_file_is_encoded_again_and_an_unchanged_one_is_not(client, folder: Path) -> None:
    save(made("replaced", 5), folder, overwrite=True)
    workflow = drawing(encoder("a,embedding:replaced"))
    before = pixels(client, workflow)
    assert {"positive", "sample"} <= cached(client.run(workflow))
    save(made("replaced", 6), folder, overwrite=True)
    changed = client.run(workflow)
    assert not {"positive", "sample"} & cached(changed)
    assert not (pixels(client, workflow) == before).all()


def separate(positive: dict, source: str, **extra: dict) -> dict:
    """One branch writes 'probe', another only names it: no wire between them."""
    load = node("TI_LoadEmbedding", embedding_name=f"{source}.safetensors")
    writer = node("TI_SaveEmbedding", embedding=["load", 1], name="probe", overwrite=True)
    return drawing(positive, load=load, zz_writer=writer, **extra)


@pytest.mark.parametrize("kind", ["encode", "prompt"])
def test_a_separate_branch_that_saves_is_waited_for(client, folder: Path, kind: str) -> None:
    (folder / "probe.safetensors").unlink(missing_ok=True)
    text = f"a {kind} of embedding:probe"
    if kind == "encode":
        positive, extra = encoder(text), {}
    else:
        expand = node("TI_EmbeddingPrompt", text=text, missing="error")
        positive, extra = core(["expand", 0]), {"expand": expand}
    for source in ("first", "second", "first"):
        expected = pixels(client, drawing(core(text.replace("probe", source))))
        assert (pixels(client, separate(positive, source, **extra)) == expected).all(), source
    repeated = client.run(separate(positive, "first", **extra))
    again = client.run(separate(positive, "first", **extra))
    assert repeated.succeeded and {"sample"} <= cached(again)


def test_core_gets_that_graph_wrong(client, folder: Path) -> None:
    """The control: core's encoder keeps what it encoded before the file was replaced."""
    text = "a control of embedding:probe"
    pixels(client, separate(core(text), "first"))
    stale = pixels(client, separate(core(text), "second"))
    assert not (stale == pixels(client, drawing(core(text.replace("probe", "second"))))).all()


def test_a_training_in_a_separate_branch_is_waited_for(client, folder, pictures, train) -> None:
    for seed in (3, 4):
        ended = train(
            "trained-apart",
            overwrite=True,
            seed=seed,
            steps=2,
            extra=drawing(encoder("embedding:trained-apart")),
        )
        assert ended.succeeded, ended.error
        (image,) = ended.outputs[workflows.SAVED]["images"]
        drawn = numpy.asarray(Image.open(io.BytesIO(client.picture(image))))
        expected = pixels(client, drawing(core("embedding:trained-apart" + " " * seed)))
        assert (drawn == expected).all()


def concepts(client, pictures: list[str], names: list[str]) -> dict[str, dict]:
    """A branch that learns a word a picture with Train Concepts."""
    branch: dict[str, dict] = {}
    before: dict[str, list] = {}
    for name, picture in zip(names, pictures, strict=False):
        branch[f"picture of {name}"] = node("LoadImage", image=picture)
        branch[f"zz {name}"] = node(
            "TI_Concept",
            images=[f"picture of {name}", 0],
            name=name,
            initializer_text="toy",
            **before,
        )
        before = {"concepts": [f"zz {name}", 0]}
    models = {key: [workflows.LOADER, slot] for slot, key in enumerate(("model", "clip", "vae"))}
    chosen = {"steps": 2, "batch_size": 1, "overwrite": True}
    given = client.defaults("TI_TrainConcepts") | chosen | models | before
    return branch | {"zz_trainer": node("TI_TrainConcepts", **given)}


def test_concepts_learnt_in_a_separate_branch_are_waited_for(client, folder, pictures) -> None:
    branch = concepts(client, pictures, ["tom-apart", "rex-apart"])
    ended = client.run(drawing(encoder("embedding:rex-apart"), **branch))
    assert ended.succeeded, ended.error
    told = " ".join(ended.outputs["zz_trainer"]["text"])
    for name in ("tom-apart", "rex-apart"):
        assert (folder / f"{name}.safetensors").is_file() and name in told
    (image,) = ended.outputs[workflows.SAVED]["images"]
    drawn = numpy.asarray(Image.open(io.BytesIO(client.picture(image))))
    assert (drawn == pixels(client, drawing(core("embedding:rex-apart ")))).all()


def test_a_conversion_in_a_separate_branch_is_waited_for(client, folder: Path) -> None:
    (folder / "converted-apart.safetensors").unlink(missing_ok=True)
    converter = node(
        "TI_ConvertEmbedding",
        **client.defaults("TI_ConvertEmbedding"),
        embedding_name="first.safetensors",
    )
    converter["inputs"] |= {"name": "converted-apart", "overwrite": True}
    drawn = pixels(client, drawing(encoder("x embedding:converted-apart"), zz_writer=converter))
    assert (drawn == pixels(client, drawing(core("x embedding:first")))).all()


def test_a_writer_that_needs_the_prompt_is_not_waited_for(client, folder: Path) -> None:
    (folder / "circle.safetensors").unlink(missing_ok=True)
    expand = node("TI_EmbeddingPrompt", text="embedding:circle", missing="warning")
    writer = node("TI_SaveEmbedding", embedding=["load", 1], name=["expand", 0], overwrite=True)
    load = node("TI_LoadEmbedding", embedding_name="first.safetensors")
    run = client.run({"expand": expand, "load": load, "writer": writer})
    assert run.ending in ("execution_success", "execution_error")
    assert run.failed_node in (None, "writer")


@pytest.fixture(scope="module")
def lora(server) -> str:
    """A LoRA for the text encoder with the embedding 'inside' in it."""
    folder = server.base.folder / "models" / "loras"
    folder.mkdir(parents=True, exist_ok=True)
    layer = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    generator = torch.Generator().manual_seed(8)
    tensors = {
        f"{layer}.lora_up.weight": torch.randn(3072, 1, generator=generator) * 0.01,
        f"{layer}.lora_down.weight": torch.randn(1, 768, generator=generator) * 0.01,
        f"{layer}.alpha": torch.tensor(1.0),
        "bundle_emb.inside.clip_l": vectors(7),
    }
    save_file(tensors, folder / "with-word.safetensors")
    return "with-word.safetensors"


def loaded(lora: str, strength: float = 1.0) -> dict:
    links = {"model": [workflows.LOADER, 0], "clip": [workflows.LOADER, 1]}
    strengths = {"strength_model": strength, "strength_clip": strength}
    return node("LoraLoader", lora_name=lora, **links, **strengths)


def test_a_loras_words_work_while_it_is_loaded(client, folder: Path, lora: str) -> None:
    workflow = drawing(encoder("a,embedding:inside", ("lora", 1)), lora=loaded(lora))
    run = client.run(workflow)
    assert run.succeeded, run.error
    assert report_of(run)[0] == (
        "embedding:inside = in the LoRA with-word.safetensors, 2 vectors: clip_l [2, 768]"
    )
    save(Embedding("outside", {"clip_l": vectors(7)}), folder, overwrite=True)
    same = drawing(encoder("a,embedding:outside", ("lora", 1)), lora=loaded(lora))
    assert (pixels(client, workflow) == pixels(client, same)).all()
    without = client.run(drawing(encoder("a,embedding:inside")))
    assert "Embedding 'inside' not found" in without.error
    off = client.run(drawing(encoder("a,embedding:inside", ("lora", 1)), lora=loaded(lora, 0.0)))
    assert "Embedding 'inside' not found" in off.error


def carrier(data: str, **inputs) -> dict:
    return node("TI_EmbeddingCarrier", data=data, **inputs)


def test_a_carrier_brings_its_own_word(client, folder: Path) -> None:
    files = sorted(folder.rglob("*"))
    word = made("carried", 1)
    links = {"carrier": carrier(pack(word), clip=[workflows.LOADER, 1])}
    plain = pixels(client, drawing(core("photo, embedding:first")))
    for positive in (
        encoder("photo,embedding:carried", ("carrier", 0)),
        encoder("photo,embedding:carried", embedding_1=["carrier", 1]),
        node("CLIPTextEncode", clip=["carrier", 0], text="photo,embedding:carried"),
    ):
        assert (pixels(client, drawing(positive, **links)) == plain).all()
    assert sorted(folder.rglob("*")) == files, "a carrier wrote to the disk"


def test_a_carrier_is_filled_and_saved_again(client, folder: Path) -> None:
    load = node("TI_LoadEmbedding", embedding_name="first.safetensors")
    run = client.run({"load": load, "carrier": carrier("", embedding=["load", 1])})
    assert run.succeeded, run.error
    (packed,) = run.outputs["carrier"]["carried"]
    assert torch.equal(unpack(packed).vectors["clip_l"], vectors(1))
    save_it = node("TI_SaveEmbedding", embedding=["carrier", 1], name="unpacked", overwrite=True)
    run = client.run({"carrier": carrier(packed), "save": save_it})
    assert run.succeeded, run.error
    assert (folder / "unpacked.safetensors").is_file()


def test_a_bad_carrier_is_one_sentence(client, folder: Path) -> None:
    for data in ("", "AAAA", "import os", pack(made("x", 1))[:-99]):
        run = client.run({"carrier": carrier(data)})
        assert run.failed_node == "carrier"
        assert "carrier" in run.error.splitlines()[0]


def test_the_picture_carries_the_word(client, folder: Path, tmp_path: Path) -> None:
    """The workflow inside a picture is enough to draw it again."""
    word = pack(made("travelling", 9))
    workflow = drawing(
        encoder("a,embedding:travelling", ("carrier", 0)),
        carrier=carrier(word, clip=[workflows.LOADER, 1]),
    )
    run = client.run(workflow)
    (image,) = run.outputs[workflows.SAVED]["images"]
    drawn = Image.open(io.BytesIO(client.picture(image)))
    found = json.loads(drawn.info["prompt"])
    assert found["carrier"]["inputs"]["data"] == word
    again = pixels(client, _again({key: dict(value) for key, value in found.items()}))
    assert (again == numpy.asarray(drawn)).all()


def test_what_a_workflow_needs(client, server, folder: Path, lora: str) -> None:
    needs = node("TI_WorkflowNeeds", workflow="")
    text = "embedding:first,embedding:absent,embedding:inside"
    workflow = {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "lora": loaded(lora),
        "text": node("TI_EmbeddingPrompt", text=text, missing="warning"),
        "needs": needs,
        "show": node("PreviewAny", source=["needs", 1]),
    }
    run = client.run(workflow)
    assert run.succeeded, run.error
    lines = report_of(run, "needs")
    assert lines[0].startswith("MISSING embedding:absent, used by TI_EmbeddingPrompt (text).")
    assert lines[1:] == [
        "embedding:first is first.safetensors, used by TI_EmbeddingPrompt (text).",
        "embedding:inside is in the LoRA with-word.safetensors, used by TI_EmbeddingPrompt (text).",
    ]
    assert run.outputs["show"]["text"] == ["absent"]
    (server.base.folder / "input" / "shared.json").write_text(json.dumps(workflow))
    run = client.run({"needs": node("TI_WorkflowNeeds", workflow="shared.json")})
    assert report_of(run, "needs") == lines


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", "none.json", "tests"])
def test_a_workflow_outside_the_input_folder_is_refused(client, name: str) -> None:
    run = client.run({"needs": node("TI_WorkflowNeeds", workflow=name)})
    assert run.error.startswith(f"There is no workflow or picture '{name}' in the input folder")


def regional(encode, *, ranged: bool = True, apart: bool = True) -> dict:
    """One word in the first steps left, another in the later ones and right; or not so."""
    words = {"one": encode("a embedding:first"), "two": encode("a embedding:second")}
    nodes = dict(words)
    ends = []
    for word, start, end, x in (("one", 0.0, 0.5, 0), ("two", 0.5, 1.0, 64)):
        last = word
        if ranged:
            given = {"conditioning": [last, 0], "start": start, "end": end}
            last = f"{word}_ranged"
            nodes[last] = node("ConditioningSetTimestepRange", **given)
        if apart:
            given = {"width": 64, "height": 64, "x": x, "y": 0, "strength": 1.0}
            nodes[f"{word}_apart"] = node("ConditioningSetArea", conditioning=[last, 0], **given)
            last = f"{word}_apart"
        ends.append(last)
    joined = {f"conditioning_{number}": [end, 0] for number, end in enumerate(ends, 1)}
    workflow = drawing(node("ConditioningCombine", **joined), **nodes)
    workflow["sample"]["inputs"]["steps"] = 2
    workflow["empty"]["inputs"]["width"] = 128
    return workflow


def test_conditioning_is_ordinary(client, folder: Path) -> None:
    """Timestep ranges, areas and combinations of two words work on it as on core's."""
    picture = pixels(client, regional(encoder))
    assert (picture == pixels(client, regional(core))).all()
    for ignored in ({"ranged": False}, {"apart": False}):
        assert (picture != pixels(client, regional(core, **ignored))).any(), ignored


def test_the_prompt_node_counts_tokens_for_a_clip(client, folder: Path) -> None:
    text = "photo,embedding:first " + "cat " * 74
    clip = {"clip": [workflows.LOADER, 1]}
    expand = node("TI_EmbeddingPrompt", text=text, missing="error", **clip)
    run = client.run(drawing(core(["expand", 0]), expand=expand))
    assert report_of(run, "expand")[-2:] == [
        "embedding:first = first.safetensors, 2 vectors: clip_l [2, 768]",
        "clip_l: 75 of 75 tokens used, 0 left in window 1; 3 of 75 tokens used, 72 left in "
        "window 2.",
    ]
