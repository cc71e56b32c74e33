"""What a person sees of the nodes in a real ComfyUI: menu, tooltips, help and translations."""

from __future__ import annotations

from pathlib import Path

import pytest

from textual_inversion.devtools import node_texts

ROOT = Path(__file__).resolve().parents[2]
NODES = {
    "TI_TrainEmbedding": "Train Embedding",
    "TI_TrainingOptions": "Training Options",
    "TI_DatasetFolder": "Dataset Folder",
    "TI_Concept": "Concept",
    "TI_TrainConcepts": "Train Concepts",
    "TI_LoadEmbedding": "Load Embedding",
    "TI_SaveEmbedding": "Save Embedding",
    "TI_EmbeddingPrompt": "Embedding Prompt",
    "TI_ConvertEmbedding": "Convert Embedding",
    "TI_DescribeEmbedding": "Describe Embedding",
    "TI_EmbeddingsFromLora": "Embeddings from LoRA",
    "TI_BundleIntoLora": "Bundle into LoRA",
    "TI_EncodeEmbeddingPrompt": "Encode Embedding Prompt",
    "TI_EmbeddingCarrier": "Embedding Carrier",
    "TI_WorkflowNeeds": "Workflow Needs",
}
LANGUAGES = ("en", "es", "ja", "zh")


@pytest.fixture(scope="module")
def listed(client) -> dict:
    return {name: node for name, node in client.get("/object_info").items() if "TI_" in name}


def inputs_of(node: dict) -> dict[str, tuple]:
    return {
        name: entry
        for section in ("required", "optional")
        for name, entry in node["input"].get(section, {}).items()
    }


def test_every_node_is_in_the_menu(listed: dict) -> None:
    assert {name: node["display_name"] for name, node in listed.items()} == NODES
    assert {node["category"] for node in listed.values()} == {"textual inversion"}
    assert all(node["description"].strip() for node in listed.values())


def test_the_pack_was_imported_without_complaint(server, listed: dict) -> None:
    log = server.base.log.read_text(encoding="utf-8", errors="replace")
    assert "custom_nodes" in log
    failed = [
        line for line in log.splitlines() if "IMPORT FAILED" in line or "Cannot import" in line
    ]
    assert not [line for line in failed if "textual-inversion" in line or "bad_inputs" in line]
    assert all(node["python_module"].endswith("textual-inversion") for node in listed.values())


@pytest.mark.parametrize("node_id", NODES)
def test_every_input_and_output_is_explained(listed: dict, node_id: str) -> None:
    node = listed[node_id]
    for name, entry in inputs_of(node).items():
        tooltip = entry[1].get("tooltip", "") if len(entry) > 1 else ""
        assert len(tooltip) > 15, f"{node_id}.{name} has no tooltip worth the name"
        assert tooltip.rstrip().endswith((".", ")", "'")), f"{node_id}.{name}: {tooltip!r}"
    assert len(node["output_tooltips"]) == len(node["output"])
    assert all(node["output_tooltips"]), f"{node_id} has an output without a tooltip"


@pytest.mark.parametrize("node_id", NODES)
def test_every_node_has_a_help_page(client, listed: dict, node_id: str) -> None:
    page = (ROOT / "web" / "docs" / f"{node_id}.md").read_text(encoding="utf-8")
    served = client.get_bytes(f"/extensions/textual-inversion/docs/{node_id}.md").decode()
    assert served == page
    assert page.startswith(f"# {NODES[node_id]}\n")
    assert node_texts.table(listed[node_id]) in page, "run python -m devtools.node_texts"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(client, listed: dict, language: str) -> None:
    texts = client.get("/i18n")[language]["nodeDefs"]
    for node_id, node in listed.items():
        entry = texts[node_id]
        assert entry["display_name"] and entry["description"]
        assert set(entry["inputs"]) == set(inputs_of(node)), f"{language}: inputs of {node_id}"
        assert all(text["name"] and text["tooltip"] for text in entry["inputs"].values())
        assert set(entry["outputs"]) == {str(i) for i in range(len(node["output"]))}


def test_english_texts_are_the_schema(client, listed: dict) -> None:
    texts = client.get("/i18n")["en"]["nodeDefs"]
    for node_id, node in listed.items():
        assert texts[node_id]["description"] == node["description"]
        for name, entry in inputs_of(node).items():
            assert texts[node_id]["inputs"][name]["tooltip"] == entry[1]["tooltip"], name
