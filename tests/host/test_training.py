"""Train Embedding through the API of a real server, on the microworld's checkpoint."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open


def stored(server, name: str) -> tuple[dict, dict]:
    with safe_open(server.base.embeddings / f"{name}.safetensors", "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.fixture(scope="module")
def trained(train):
    """A finished run that later tests look at from different sides."""
    run = train("learnt-first", num_vectors=2)
    assert run.succeeded, run.error
    return run


def test_the_file_lands_in_the_embeddings_folder(server, trained) -> None:
    tensors, metadata = stored(server, "learnt-first")
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == {"emb_params": (2, 768)}
    assert tensors["emb_params"].isfinite().all()
    assert metadata["modelspec.title"]
    text = json.dumps(metadata)
    assert "toy" in text and "microworld" in text
    thumbnail = server.base.embeddings / "learnt-first.preview.png"
    assert thumbnail.read_bytes().startswith(b"\x89PNG")


def test_comfyui_lists_the_embedding_and_shows_its_thumbnail(client, trained) -> None:
    assert "learnt-first" in client.get("/embeddings")
    metadata = client.get("/view_metadata/embeddings", filename="learnt-first.safetensors")
    assert metadata["modelspec.title"]
    listed = client.get("/experiment/models/embeddings")
    entry = next(model for model in listed if model["name"] == "learnt-first.safetensors")
    path = f"/experiment/models/preview/embeddings/{entry['pathIndex']}/learnt-first.safetensors"
    assert len(client.get_bytes(path)) > 100


def test_headless_users_read_the_result_in_the_history(server, trained) -> None:
    shown = trained.outputs["train"]
    assert all(isinstance(value, list) for value in shown.values())
    assert "learnt-first.safetensors" in " ".join(map(str, shown["text"]))
    assert shown["images"] and shown["images"][0]["filename"].endswith(".png")
    assert shown["steps"] == [8]


def test_progress_reaches_the_websocket(trained) -> None:
    steps = [
        data["value"]
        for kind, data in trained.messages
        if kind == "progress" and data["node"] == "train"
    ]
    assert steps == sorted(steps) and steps[-1] == 8


def test_a_second_workflow_uses_the_word(server, trained, sample) -> None:
    log_before = server.base.log.stat().st_size
    learnt, _ = sample("a photo of embedding:learnt-first on grass")
    other, _ = sample("a photo of a toy on grass")
    assert (learnt != other).mean() > 0.05
    log = server.base.log.read_text(encoding="utf-8", errors="replace")[log_before:]
    assert "does not exist" not in log


def test_the_prompt_text_is_used_in_the_same_run(client, pictures, server) -> None:
    from textual_inversion.devtools import workflows

    workflow = workflows.training(
        "microworld.safetensors",
        pictures[:2],
        name="same-run",
        initializer_text="toy",
        kind="subject",
        num_vectors=1,
        steps=3,
        learning_rate=0.02,
        batch_size=1,
        seed=5,
        overwrite=False,
    )
    use = workflows.sampling("microworld.safetensors", ["train", 1], steps=3)
    workflow |= {name: node for name, node in use.items() if name != "checkpoint"}
    run = client.run(workflow)
    assert run.succeeded, run.error
    order = [d["node"] for kind, d in run.messages if kind == "executing" and d.get("node")]
    assert order.index("train") < order.index("positive")
    assert run.outputs["save"]["images"]


def test_an_existing_file_is_kept_unless_overwrite_says_so(server, trained, train) -> None:
    path = server.base.embeddings / "learnt-first.safetensors"
    before = path.read_bytes()
    run = train("learnt-first", steps=2)
    assert run.ending == "execution_error" and run.failed_node == "train"
    assert "learnt-first" in run.error and "overwrite" in run.error
    assert path.read_bytes() == before
    run = train("learnt-first", steps=2, overwrite=True)
    assert run.succeeded, run.error
    assert path.read_bytes() != before


def test_the_models_are_as_before_a_training_run(untouched_models, train) -> None:
    assert untouched_models()
    assert train("harmless", steps=3).succeeded
    assert untouched_models()
    assert train("harmless-too", steps=3, seed=9).succeeded
    assert untouched_models()


def test_cancel_answers_and_keeps_the_best(server, client, train, untouched_models) -> None:
    seen: list[int] = []
    answered: list[int] = []

    def interrupt() -> None:
        client.interrupt()
        answered.append(seen[-1])

    def cancel_at_the_fifth_step(kind: str, data: dict) -> None:
        if kind == "progress" and data["node"] == "train":
            seen.append(int(data["value"]))
            if seen[-1] >= 5 and len(asking) == 0:
                asking.append(threading.Thread(target=interrupt))
                asking[0].start()

    asking: list[threading.Thread] = []
    run = train("cancelled", steps=5000, watch=cancel_at_the_fifth_step)
    asking[0].join()
    assert run.ending == "execution_interrupted"
    assert seen[-1] <= answered[0] + 5, "the run went on after Cancel"
    tensors, _ = stored(server, "cancelled")
    assert tensors["emb_params"].shape == (1, 768)
    assert untouched_models()
    again = train("after-cancel", steps=3)
    assert again.succeeded, again.error


def test_core_draws_the_loss(client, pictures) -> None:
    from textual_inversion.devtools import workflows

    workflow = workflows.training(
        "microworld.safetensors",
        pictures[:1],
        name="drawn",
        initializer_text="toy",
        kind="subject",
        num_vectors=1,
        steps=3,
        learning_rate=0.02,
        batch_size=1,
        seed=5,
        overwrite=True,
    )
    inputs = {"loss": ["train", 3], "filename_prefix": "loss"}
    workflow["plot"] = {"class_type": "LossGraphNode", "inputs": inputs}
    run = client.run(workflow)
    assert run.succeeded, run.error
    assert run.outputs["plot"]["images"]


def test_the_same_seed_gives_the_same_bytes(server, client, train, checkpoint) -> None:
    """On models that were trained on before, and on models loaded anew."""
    world = checkpoint.stat().st_mtime_ns
    first = train("seeded", steps=6)
    used = train("seeded-on-used-models", steps=6)
    other = train("seeded-otherwise", steps=6, seed=4)
    assert first.succeeded and used.succeeded and other.succeeded, used.error
    assert "checkpoint" in cached_nodes(used), "the models were loaded anew"
    path = server.base.embeddings / "seeded.safetensors"
    expected = path.read_bytes()
    for pause in (1.5, 5, 20):  # the server empties its caches when it next looks at its queue
        client.post("/free", {"unload_models": True, "free_memory": True})
        time.sleep(pause)
        reloaded = train("seeded", steps=6, overwrite=True)
        assert reloaded.succeeded, reloaded.error
        if not cached_nodes(reloaded):
            break
    assert not cached_nodes(reloaded), "the models were not loaded anew"
    assert checkpoint.stat().st_mtime_ns == world, (
        f"{checkpoint} was replaced meanwhile; run the test again"
    )
    vectors = [
        stored(server, name)[0]["emb_params"]
        for name in ("seeded", "seeded-on-used-models", "seeded-otherwise")
    ]
    assert path.read_bytes() == expected
    assert torch.equal(vectors[0], vectors[1])
    assert not torch.equal(vectors[0], vectors[2])


def cached_nodes(run) -> set[str]:
    kinds = [data["nodes"] for kind, data in run.messages if kind == "execution_cached"]
    return {node for nodes in kinds for node in nodes}


def test_pictures_of_different_sizes_are_learnt_from(train) -> None:
    extra = {"odd": {"class_type": "TestPictures", "inputs": {"which": "different sizes"}}}
    run = train("sizes", images=["odd", 0], extra=extra, pictures=[], steps=3)
    assert run.succeeded, run.error
    assert run.outputs["train"]["steps"] == [3]


def options_node(client, **changes) -> dict:
    inputs = {**client.defaults("TI_TrainingOptions"), **changes}
    return {"options": {"class_type": "TI_TrainingOptions", "inputs": inputs}}


def test_training_options_change_the_run(client, train, server) -> None:
    extra = options_node(client, optimizer="adamw", learning_rate_schedule="5e-3:2, 1e-3")
    plain = train("plain", steps=4)
    changed = train("changed", steps=4, options=["options", 0], extra=extra)
    assert plain.succeeded and changed.succeeded, plain.error + changed.error
    norms = [stored(server, name)[0]["emb_params"].norm() for name in ("plain", "changed")]
    assert abs(norms[0] - norms[1]) > 1e-4


def files_in(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


BAD_INPUTS = {
    "spaces": ({"name": "my word"}, "letters without accents"),
    "slash": ({"name": "folder/word"}, "'/'"),
    "parent": ({"name": "..word/.."}, "'/'"),
    "dots": ({"name": ".."}, "'.'"),
    "reserved": ({"name": "CON"}, "Windows"),
    "long": ({"name": "a" * 101}, "101 characters"),
    "empty name": ({"name": ""}, "empty"),
    "no words": ({"initializer_text": ""}, "initializer"),
    "only spaces": ({"initializer_text": "   "}, "initializer"),
    "too many vectors": ({"num_vectors": 75}, "num_vectors"),
    "bad schedule": ({"options": ("learning_rate_schedule", "fast")}, "schedule"),
    "nan": ({"images": "nan"}, "NaN"),
    "none": ({"images": "none"}, "no pictures"),
    "tiny": ({"images": "tiny"}, "too small"),
    "foreign clip": ({"clip": "TestForeignClip"}, "belong together"),
    "foreign model": ({"model": "TestForeignModel"}, "SDXL"),
}


@pytest.mark.parametrize("which", BAD_INPUTS)
def test_bad_input_is_one_sentence_and_leaves_nothing(server, client, train, which: str) -> None:
    changes, words = BAD_INPUTS[which]
    changes, extra = dict(changes), {}
    for name in ("clip", "model"):
        if name in changes:
            extra["foreign"] = {"class_type": changes[name], "inputs": {}}
            changes[name] = ["foreign", 0]
    if "images" in changes:
        extra["bad"] = {"class_type": "TestPictures", "inputs": {"which": changes["images"]}}
        changes["images"] = ["bad", 0]
    if "options" in changes:
        key, value = changes["options"]
        extra |= options_node(client, **{key: value})
        changes["options"] = ["options", 0]
    before = files_in(server.base.embeddings)
    run = train(changes.pop("name", "never-made"), extra=extra, **changes)
    assert run.ending == "execution_error" and run.failed_node in ("train", "options")
    assert words in run.error
    assert "\n" not in run.error and run.error.endswith((".", ")"))
    assert files_in(server.base.embeddings) == before


def test_a_failing_run_leaves_the_models_as_they_were(untouched_models, train) -> None:
    assert train("bad name").ending == "execution_error"
    extra = {"bad": {"class_type": "TestPictures", "inputs": {"which": "nan"}}}
    assert train("never-made", images=["bad", 0], extra=extra).ending == "execution_error"
    assert untouched_models()


def test_missing_links_are_refused_at_once(client, pictures) -> None:
    from textual_inversion.devtools import workflows
    from textual_inversion.devtools.client import RefusedError

    workflow = workflows.training("microworld.safetensors", pictures[:1], name="x")
    del workflow["train"]["inputs"]["images"]
    with pytest.raises(RefusedError) as caught:
        client.queue(workflow)
    assert caught.value.status == 400
