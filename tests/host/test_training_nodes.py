"""The training nodes as the executor calls them: lists in, outputs and ui out."""

from __future__ import annotations

import inspect

import pytest
import torch

ORDER = [
    "model", "clip", "vae", "images", "name", "initializer_text", "kind", "num_vectors", "steps",
    "learning_rate", "batch_size", "seed", "overwrite", "options", "captions",
    "preset", "fidelity", "masks", "initializer", "good_images",
]  # fmt: skip


@pytest.fixture(scope="module")
def nodes(comfyui_path):
    from textual_inversion.nodes import train_embedding, training_options

    return train_embedding.TrainEmbedding, training_options.TrainingOptions


def test_inputs_keep_their_order_and_explain_themselves(nodes):
    train, options = (node.define_schema() for node in nodes)
    assert [each.id for each in train.inputs] == ORDER
    for each in [*train.inputs, *options.inputs]:
        assert each.tooltip and each.tooltip.endswith("."), each.id
    assert [each.display_name for each in train.outputs] == [
        "embedding", "prompt_text", "previews", "loss", "plot", "report",
    ]  # fmt: skip
    assert train.is_output_node and train.is_input_list


def test_every_knob_is_an_input_of_one_of_the_two_nodes(nodes):
    from textual_inversion.training.recipe import knobs

    ids = [each.id for node in nodes for each in node.define_schema().inputs]
    assert all(ids.count(name) == 1 for name in knobs())


def test_options_hand_on_only_what_differs(nodes):
    from textual_inversion.training.recipe import default, knobs

    values = {each.id: default(each.id) for each in nodes[1].define_schema().inputs}
    assert set(values) < set(knobs())
    assert nodes[1].execute(**values).result == ({},)
    values["flip"] = "on"
    assert nodes[1].execute(**values).result == ({"flip": "on"},)


def test_executed_it_returns_word_text_pictures_and_losses(nodes, tmp_path_factory, monkeypatch):
    import folder_paths
    from comfy_api.latest import io

    from textual_inversion.tests.host import loaded_models

    folder = tmp_path_factory.mktemp("node")
    (folder / "embeddings").mkdir()
    monkeypatch.setitem(
        folder_paths.folder_names_and_paths, "embeddings", ([str(folder / "embeddings")], set())
    )
    monkeypatch.setattr(folder_paths, "temp_directory", str(folder / "temp"))
    monkeypatch.setattr(folder_paths, "output_directory", str(folder / "output"))
    models = loaded_models.load(folder)
    graph = {"9": {"inputs": {"model": ["1", 0]}}, "1": {"inputs": {"ckpt_name": "toy.ckpt"}}}
    hidden = {io.Hidden.prompt: graph, io.Hidden.unique_id: "9"}
    newer = "v3_data" in inspect.signature(nodes[0].PREPARE_CLASS_CLONE).parameters
    node = nodes[0].PREPARE_CLASS_CLONE({"hidden_inputs": hidden} if newer else hidden)
    images = loaded_models.pictures(3)
    scalars = {
        "name": "word", "initializer_text": "star", "kind": "style", "num_vectors": 1, "steps": 2,
        "learning_rate": 0.05, "batch_size": 2, "seed": 0, "overwrite": False,
    }  # fmt: skip
    with torch.inference_mode():
        output = node.execute(
            images=[images[:2], images[2:]],
            options=[{"probe_size": 2, "optimizer": "adamw", "flip": "on"}],
            model=[models.model], clip=[models.clip], vae=[models.vae],
            **{name: [value] for name, value in scalars.items()},
        )  # fmt: skip
    embedding, text, previews, losses, plot, report = output.result
    assert plot.ndim == 4 and plot.shape[-1] == 3 and 0.5 < plot.mean() < 1.0
    assert "clip_l vector 1: norm" in report and "picture 1: loss" in report
    table = (folder / "output" / "textual_inversion" / "word.csv").read_text().splitlines()
    assert table[0] == "step,learning_rate,loss,probe_loss" and len(table) == 4
    assert text == "embedding:word" == embedding.prompt_text
    assert embedding.metadata["textual_inversion.base_model"] == "toy.ckpt"
    assert embedding.metadata["textual_inversion.pictures"] == "3"
    assert previews.shape == (4, 64, 64, 3)
    assert len(losses["loss"]) == 2 and all(isinstance(loss, float) for loss in losses["loss"])
    assert all(isinstance(value, (list, tuple)) for value in output.ui.values())
    assert output.ui["steps"] == [2] and len(output.ui["images"]) == 5
    assert "word.safetensors" in output.ui["text"][0] and "word.safetensors" in output.ui["file"][0]
    assert (folder / "embeddings" / "word.safetensors").is_file()
