"""The example workflows: what the page opens, and the same posted to the API."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.saving import save

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))
POSTED = ROOT / "tests" / "host" / "workflows"
PAGE_ONLY = {"MarkdownNote", "Note"}
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
ROOM = {"LoadImage": 80, "EmptyLatentImage": 40, "CheckpointLoaderSimple": 20, "VAEDecode": 20}
AFTER_WIDGET = {"control_after_generate", "image_upload"}


@pytest.fixture(scope="module")
def schema(client) -> dict:
    return client.get("/object_info")


def named(path: Path) -> str:
    return path.stem


def is_widget(entry: list) -> bool:
    kind, options = entry[0], entry[1] if len(entry) > 1 else {}
    return (isinstance(kind, list) or kind in WIDGETS) and not options.get("forceInput")


def to_api(page: dict, schema: dict) -> dict:
    """What the page posts for a workflow in its own format, without the notes."""
    origins = {link[0]: [str(link[1]), link[2]] for link in page["links"]}
    posted = {}
    for node in page["nodes"]:
        if node["type"] in PAGE_ONLY:
            continue
        values = list(node["widgets_values"])
        inputs, info = {}, schema[node["type"]]
        for section in ("required", "optional"):
            for name, entry in info["input"].get(section, {}).items():
                options = entry[1] if len(entry) > 1 else {}
                if is_widget(entry):
                    inputs[name] = values.pop(0)
                    if AFTER_WIDGET & {key for key, on in options.items() if on}:
                        values.pop(0)
        assert not values, f"{node['type']} has widget values too many: {values}"
        for entry in node["inputs"]:
            if entry["link"] is not None:
                inputs[entry["name"]] = origins[entry["link"]]
        posted[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return posted


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_every_node_and_widget_is_what_the_schema_says(path: Path, schema: dict) -> None:
    page = json.loads(path.read_text(encoding="utf-8"))
    assert page["version"] == 0.4
    posted = to_api(page, schema)
    shipped = json.loads((POSTED / path.name).read_text(encoding="utf-8"))
    assert posted == {
        node_id: {"class_type": node["class_type"], "inputs": node["inputs"]}
        for node_id, node in shipped.items()
    }
    for node in page["nodes"]:
        if node["type"] not in PAGE_ONLY:
            info = schema[node["type"]]
            known = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
            assert [entry["name"] for entry in node["inputs"]] == list(known)
            # A newer ComfyUI may have appended outputs to its own nodes.
            outputs = [entry["name"] for entry in node["outputs"]]
            assert outputs == info["output_name"][: len(outputs)]
            if node["type"].startswith("TI_"):
                assert outputs == info["output_name"]


def test_training_starts_from_the_defaults(schema: dict) -> None:
    text = (POSTED / "Train an Embedding.json").read_text(encoding="utf-8")
    nodes = json.loads(text).values()
    inputs = next(n["inputs"] for n in nodes if n["class_type"] == "TI_TrainEmbedding")
    for name, entry in schema["TI_TrainEmbedding"]["input"]["required"].items():
        if is_widget(entry) and name not in ("name", "initializer_text", "seed"):
            assert inputs[name] == entry[1]["default"], name


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_links_join_what_exists(path: Path) -> None:
    page = json.loads(path.read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in page["nodes"]}
    for link, origin, slot, target, place, kind in page["links"]:
        assert link in nodes[origin]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][place]["link"] == link
        assert nodes[origin]["outputs"][slot]["type"] == kind


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_no_node_covers_another(path: Path) -> None:
    page = json.loads(path.read_text(encoding="utf-8"))
    places = {node["id"]: place(node) for node in page["nodes"]}
    for one, other in itertools.combinations(page["nodes"], 2):
        (left, top, right, bottom), (x, y, ends, ground) = places[one["id"]], places[other["id"]]
        apart = right <= x or ends <= left or bottom <= y or ground <= top
        assert apart, f"{one['type']} {one['id']} and {other['type']} {other['id']}"
    for group in page["groups"]:
        x, y, width, height = group["bounding"]
        for node in page["nodes"]:
            left, top, right, bottom = places[node["id"]]
            outside = right <= x or x + width <= left or bottom <= y or y + height <= top
            inside = x <= left and right <= x + width and y <= top and bottom <= y + height
            assert outside or inside, f"{node['type']} {node['id']} on the edge of {group['title']}"


def place(node: dict) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a node with its title and what Nodes 2.0 adds below."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - 30, x + width, y + height + ROOM.get(node["type"], 0)


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_it_explains_itself_and_has_a_picture(client, path: Path) -> None:
    page = json.loads(path.read_text(encoding="utf-8"))
    assert sum(node["type"] == "MarkdownNote" for node in page["nodes"]) >= 1
    assert 8 <= len(page["nodes"]) <= 25
    assert path.with_suffix(".jpg").read_bytes().startswith(b"\xff\xd8")
    assert path.stem in client.get("/workflow_templates")["textual-inversion"]
    models = [model for node in page["nodes"] for model in node["properties"].get("models", [])]
    assert models and {model["directory"] for model in models} == {"checkpoints"}


def small(workflow: dict, pictures: list[str]) -> dict:
    """The posted workflow on the microworld: its checkpoint, our pictures, 64 px, few steps."""
    names = iter(pictures)
    for node in workflow.values():
        inputs = node["inputs"]
        match node["class_type"]:
            case "CheckpointLoaderSimple":
                inputs["ckpt_name"] = "microworld.safetensors"
            case "LoadImage":
                inputs["image"] = next(names)
            case "EmptyLatentImage":
                inputs |= {"width": 64, "height": 64}
            case "KSampler":
                inputs["steps"] = 3
            case "LoraLoader":
                inputs["lora_name"] = "lora-with-words.safetensors"
            case "TI_TrainEmbedding":
                inputs |= {"steps": 6, "batch_size": 1, "overwrite": True}
    return workflow


def test_they_run_one_after_the_other(client, pictures, server) -> None:
    for name, saving in (("Train an Embedding", "19"), ("Use an Embedding (SD1.5)", "10")):
        workflow = json.loads((POSTED / f"{name}.json").read_text(encoding="utf-8"))
        run = client.run(small(workflow, pictures))
        assert run.succeeded, run.error
        image = run.outputs[saving]["images"][0]
        assert client.picture(image).startswith(b"\x89PNG")
    assert (server.base.embeddings / "my-word.safetensors").is_file()


def posted(name: str) -> dict:
    return json.loads((POSTED / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def word(server) -> Embedding:
    """'my-word' in the embeddings folder, for as long as a test takes."""
    rows = torch.randn(2, 768, generator=torch.Generator().manual_seed(3))
    word = Embedding("my-word", {"clip_l": rows / rows.norm(dim=1, keepdim=True) * 0.39})
    path = server.base.embeddings / "my-word.safetensors"
    before = path.read_bytes() if path.is_file() else None
    save(word, server.base.embeddings, overwrite=True)
    yield word
    path.unlink(missing_ok=True)
    if before is not None:
        path.write_bytes(before)


def drawn(client, workflow: dict) -> tuple[bytes, str]:
    """The pixels of the saved picture, and what the prompt's node says."""
    run = client.run(small(workflow, []))
    assert run.succeeded, run.error
    (image,) = run.outputs["25"]["images"]
    with Image.open(io.BytesIO(client.picture(image))) as picture:
        return picture.tobytes(), run.outputs["20"]["text"][0]


def test_plain_words(client, word) -> None:
    workflow = posted("Embeddings as Plain Words")
    pixels, report = drawn(client, workflow)
    assert report.startswith("embedding:my-word = my-word.safetensors, 2 vectors")
    assert "keyword 'my-word'" in report
    inputs = workflow["20"]["inputs"]
    inputs |= {"text": inputs["text"].replace("my-word", "embedding:my-word"), "bare_names": "off"}
    assert drawn(client, workflow)[0] == pixels


def test_sharing_without_the_file(client, server, word) -> None:
    """Filled on one machine, it draws the same on one that has no such file."""
    workflow = posted("Share an Embedding in the Workflow")
    pixels, _ = drawn(client, workflow)
    run = client.run({node: workflow[node] for node in ("2", "3", "4")})
    (packed,) = run.outputs["4"]["carried"]
    shared = posted("Share an Embedding in the Workflow")
    del shared["3"], shared["4"]["inputs"]["embedding"]
    shared["4"]["inputs"]["data"] = packed
    (server.base.embeddings / "my-word.safetensors").unlink()
    again, report = drawn(client, shared)
    assert again == pixels and report.startswith("embedding:my-word = carried, 2 vectors")


def test_words_inside_a_lora(client, server, word) -> None:
    workflow = posted("Use Embeddings Inside a LoRA")
    (server.base.embeddings / "my-word.safetensors").unlink()
    layer = "lora_te_text_model_encoder_layers_0_mlp_fc1"
    tensors = {
        f"{layer}.lora_up.weight": torch.full((3072, 1), 0.01),
        f"{layer}.lora_down.weight": torch.full((1, 768), 0.01),
        "bundle_emb.my-word.clip_l": word.vectors["clip_l"],
    }
    folder = server.base.folder / "models" / "loras"
    save_file(tensors, folder / "lora-with-words.safetensors")
    _, report = drawn(client, workflow)
    assert report.startswith("embedding:my-word = in the LoRA lora-with-words.safetensors, 2 vect")
    workflow["20"]["inputs"]["clip"] = ["2", 1]
    run = client.run(small(workflow, []))
    assert "Embedding 'my-word' not found" in run.error


def test_a_missing_word_stops_the_second_with_a_sentence(client, pictures) -> None:
    text = (POSTED / "Use an Embedding (SD1.5).json").read_text(encoding="utf-8")
    run = client.run(small(json.loads(text.replace("my-word", "my-wrod")), pictures))
    assert run.ending == "execution_error"
    assert "my-wrod" in run.error
