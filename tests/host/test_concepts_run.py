"""Several words in one run: on models borrowed once, each with a file of its own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def models(comfyui_path, tmp_path_factory):
    from textual_inversion.tests.host import loaded_models

    return loaded_models.load(tmp_path_factory.mktemp("concepts"))


@pytest.fixture
def requests_for(models, tmp_path):
    from textual_inversion.nodes.training_request import TrainingRequest
    from textual_inversion.tests.host.loaded_models import pictures
    from textual_inversion.training.recipe import Recipe

    def make(captions=((), ()), names=("tom", "rex"), **recipe):
        settings = {"steps": 3, "batch_size": 2, "probe_size": 2, "preview_every": 2}
        shown = pictures(5)
        return [
            TrainingRequest(
                model=models.model,
                clip=models.clip,
                vae=models.vae,
                images=[images],
                captions=own,
                name=name,
                initializer_text=text,
                recipe=Recipe(**(settings | recipe)),
                overwrite=False,
                folder=tmp_path,
                records=tmp_path / "records",
            )
            for images, own, name, text in zip(
                (shown[:2], shown[2:]), captions, names, ("star", "ring"), strict=True
            )
        ]

    return make


def run(requests, mode="auto"):
    from textual_inversion.nodes.concepts_run import ConceptsRun

    concepts = ConceptsRun(requests, mode)
    with torch.inference_mode():
        return concepts, concepts.execute()


def counted(monkeypatch, name):
    from textual_inversion.nodes import concepts_run, training_run

    calls = []
    module = concepts_run if hasattr(concepts_run, name) else training_run
    real = getattr(module, name)

    def count(*given, **options):
        calls.append(name)
        return real(*given, **options)

    monkeypatch.setattr(module, name, count)
    return calls


def test_one_after_another_each_has_the_file_it_would_have_alone(
    models, requests_for, tmp_path, monkeypatch
):
    from textual_inversion.nodes.training_run import TrainingRun

    before = models.sample()
    lent, encoded = counted(monkeypatch, "borrow"), counted(monkeypatch, "cache_latents")
    concepts, results = run(requests_for())
    assert not concepts.together and len(lent) == 1 and len(encoded) == 1
    assert [each.embedding.name for each in results] == ["tom", "rex"]
    assert torch.equal(models.sample(), before)
    alone = tmp_path / "alone"
    for request, result in zip(requests_for(), results, strict=True):
        moved = dataclasses.replace(request, folder=alone, records=None)
        with torch.inference_mode():
            single = TrainingRun(moved).execute()
        assert torch.equal(single.embedding.vectors["clip_l"], result.embedding.vectors["clip_l"])
        stored = load_file(tmp_path / f"{result.embedding.name}.safetensors")["emb_params"]
        assert torch.equal(stored, result.embedding.vectors["clip_l"])
        assert (tmp_path / "records" / f"{result.embedding.name}.csv").is_file()


def test_together_where_a_caption_names_another(requests_for, tmp_path):
    captions = (("tom here", "tom beside rex"), ("a rex", "rex", "rex sits"))
    concepts, results = run(requests_for(captions, num_vectors=2))
    assert concepts.together
    for result in results:
        assert result.embedding.vectors["clip_l"].shape == (2, 768)
        assert result.previews.shape == (4, 64, 64, 3)
    assert not torch.equal(*(each.embedding.vectors["clip_l"] for each in results))
    assert results[0].figures["steps"] == results[1].figures["steps"] == 3
    assert sorted(each.name for each in tmp_path.glob("*.safetensors")) == [
        "rex.safetensors",
        "tom.safetensors",
    ]


def test_words_learnt_together_all_have_snapshots(requests_for, tmp_path):
    _, results = run(requests_for(snapshot_every=3, num_vectors=2, keep="last"), "together")
    for result in results:
        name = result.embedding.name
        kept = load_file(tmp_path / f"{name}-snapshots" / "step-000003.safetensors")["emb_params"]
        assert torch.equal(kept, result.embedding.vectors["clip_l"])


@pytest.fixture
def sheets(monkeypatch):
    """The preview pictures that the node shows."""
    from textual_inversion.host.progress import NodeProgress

    seen = []
    monkeypatch.setattr(NodeProgress, "picture", lambda progress, image: seen.append(image))
    return seen


def asked_for(monkeypatch):
    """Prompts and embeddings of all pictures; the sampler is replaced by one of random pixels."""
    from textual_inversion.host import previews

    asked = []

    def sample(model, clip, vae, prompt, sampling, *, count, negative, embeddings):
        asked.append((prompt, {each.name: each.vectors["clip_l"] for each in embeddings}))
        generator = torch.Generator().manual_seed(len(asked))
        return torch.rand(count, 64, 64, 3, generator=generator)

    monkeypatch.setattr(previews, "sample", sample)
    return asked


def test_words_learnt_together_are_all_in_the_preview(requests_for, monkeypatch, sheets):
    asked = asked_for(monkeypatch)
    _, results = run(requests_for(preview_every=1), "together")
    first = ["a photo of star", "a photo of embedding:tom"]
    first += ["a photo of ring", "a photo of embedding:rex"]
    learnt = ["a photo of embedding:tom", "a photo of embedding:rex"]
    assert [prompt for prompt, _ in asked[:6]] == first + learnt
    assert [each.size for each in sheets] == [(128, 128)] * 2
    known = asked[5][1]
    for result, other in zip(results, reversed(results), strict=True):
        shown = known[result.embedding.name]
        own, others = (each.embedding.vectors["clip_l"] for each in (result, other))
        assert shown.shape == own.shape and (shown - own).norm() < (shown - others).norm()


def test_a_preview_has_four_rows_and_every_word_its_turn(requests_for, monkeypatch):
    from textual_inversion.embeddings_io.embedding import Embedding
    from textual_inversion.nodes.training_previews import PreviewMaker, sheet
    from textual_inversion.training.dataset import CachedPicture

    asked = asked_for(monkeypatch)
    words = [
        (f"start {name}", Embedding(name, {"clip_l": torch.zeros(1, 768)})) for name in "abcde"
    ]
    (request, _) = requests_for(preview_prompts="{} here\n{} there\n{} again")
    example = CachedPicture(torch.zeros(4, 8, 8), None, 0)
    of_two = PreviewMaker(request, request.recipe, example).during(words[:2])
    assert {name: tuple(rows.shape) for name, rows in of_two.items()} == {
        name: (2, 64, 128, 3) for name in "ab"
    }
    plain, named = (sheet(of_two, named=choice) for choice in (False, True))
    assert plain.size == named.size == (128, 256)
    changed = torch.tensor([a != b for a, b in zip(plain.getdata(), named.getdata(), strict=True)])
    left = changed.view(256, 128)[:, :64]
    assert left[:32].any() and left[128:160].any() and changed.sum() == left.sum()
    assert not left[32:128].any() and not left[160:].any()
    maker = PreviewMaker(request, request.recipe, example)
    assert [list(maker.during(words)) for _ in range(3)] == [
        ["a", "b", "c", "d"],
        ["e", "a", "b", "c"],
        ["d", "e", "a", "b"],
    ]
    asked.clear()
    maker.during(words)
    assert [prompt for prompt, _ in asked] == [f"embedding:{name} here" for name in "cdea"]


def test_the_mode_can_be_told(requests_for):
    from textual_inversion.nodes.concepts_run import ConceptsRun

    named = (("tom beside rex", "tom"), ("rex",) * 3)
    assert ConceptsRun(requests_for(), "together").together
    assert ConceptsRun(requests_for(named), "auto").together
    assert not ConceptsRun(requests_for(named), "one after another").together
    assert not ConceptsRun(requests_for(named)[:1], "together").together


def test_what_is_wrong_is_found_before_anything_is_learnt(requests_for, tmp_path, monkeypatch):
    from textual_inversion.nodes import concepts_run

    def begin(*given, **options):
        raise AssertionError("the error was found too late")

    monkeypatch.setattr(concepts_run, "cache_latents", begin)
    with pytest.raises(ValueError, match="a name of its own"):
        run(requests_for(names=("tom", "Tom")))
    with pytest.raises(ValueError, match="choose one of auto"):
        run(requests_for(), "both")
    with pytest.raises(ValueError, match="no concepts"):
        run([])
    with pytest.raises(ValueError, match="'my rex'"):
        run(requests_for(names=("tom", "my rex")))
    with pytest.raises(ValueError, match="vectors fit"):
        run(requests_for((("tom", "tom and rex"), ("rex",) * 3), num_vectors=40))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("mode", ["one after another", "together"])
def test_cancelled_the_words_so_far_are_kept(requests_for, tmp_path, monkeypatch, mode):
    from textual_inversion.host.progress import Interrupted, NodeProgress
    from textual_inversion.training.events import Stepped

    seen = []
    real = NodeProgress.show

    def show(self, event):
        real(self, event)
        seen.append(event)
        steps = sum(isinstance(each, Stepped) for each in seen)
        if steps == (5 if mode == "one after another" else 2) and isinstance(event, Stepped):
            raise Interrupted()

    monkeypatch.setattr(NodeProgress, "show", show)
    with pytest.raises(Interrupted):
        run(requests_for(preview_every=1), mode)
    assert sorted(each.stem for each in tmp_path.glob("*.safetensors")) == ["rex", "tom"]
    if mode == "together":
        thumbnails = [tmp_path / f"{name}.preview.png" for name in ("tom", "rex")]
        assert thumbnails[0].read_bytes() != thumbnails[1].read_bytes()


def test_the_nodes_chain_concepts_and_train_them(models, tmp_path, monkeypatch):
    import folder_paths

    from textual_inversion.nodes.concept import Concept
    from textual_inversion.nodes.train_concepts import TrainConcepts
    from textual_inversion.tests.host.loaded_models import pictures
    from textual_inversion.training.recipe import default

    (tmp_path / "embeddings").mkdir()
    monkeypatch.setitem(
        folder_paths.folder_names_and_paths, "embeddings", ([str(tmp_path / "embeddings")], set())
    )
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    shown = pictures(4)
    first = Concept.execute([shown[:2]], ["tom"], ["star"]).result[0]
    both = Concept.execute([shown[2:]], ["rex"], ["ring"], concepts=[first]).result[0]
    assert [each.name for each in both] == ["tom", "rex"]
    knobs = {"kind", "num_vectors", "steps", "learning_rate", "batch_size", "seed"}
    values = {name: default(name) for name in knobs} | {"steps": 2, "batch_size": 2}
    node = prepared(TrainConcepts)
    with torch.inference_mode():
        output = node.execute(
            concepts=both, mode="auto", model=models.model, clip=models.clip, vae=models.vae,
            overwrite=False, options={"probe_size": 2}, preset="auto", fidelity=0.0, **values,
        )  # fmt: skip
    words, texts, previews, plots, report = output.result
    assert texts == ["embedding:tom", "embedding:rex"] and len(words) == len(previews) == 2
    assert all(plot.shape[-1] == 3 for plot in plots) and "rex.safetensors" in report
    assert {each.name for each in (tmp_path / "embeddings").glob("*.safetensors")} == {
        "tom.safetensors",
        "rex.safetensors",
    }


def prepared(node):
    import inspect

    from comfy_api.latest import io

    hidden = {io.Hidden.prompt: {}, io.Hidden.unique_id: "1"}
    newer = "v3_data" in inspect.signature(node.PREPARE_CLASS_CLONE).parameters
    return node.PREPARE_CLASS_CLONE({"hidden_inputs": hidden} if newer else hidden)
