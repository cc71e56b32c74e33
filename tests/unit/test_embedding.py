"""The domain object: what it takes, what it refuses, and that nothing changes it."""

from __future__ import annotations

import pytest
import torch

from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.metadata import describe, recipe_of


def test_vectors_are_float32_copies_of_shape_n_by_d() -> None:
    source = torch.ones(768, dtype=torch.float16, requires_grad=True)
    embedding = Embedding("a", {"clip_l": source})
    rows = embedding.vectors["clip_l"]
    assert rows.shape == (1, 768) and rows.dtype == torch.float32 and not rows.requires_grad
    with torch.no_grad():
        source.fill_(7)
    assert rows.unique().tolist() == [1.0]


def test_vectors_made_in_inference_mode_can_be_trained() -> None:
    with torch.inference_mode():
        embedding = Embedding("a", {"clip_l": torch.ones(2, 4)})
    rows = embedding.vectors["clip_l"].clone().requires_grad_()
    (rows * embedding.vectors["clip_l"]).sum().backward()
    assert rows.grad is not None


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({}, "no vectors"),
        ({"clip_l": torch.zeros(0, 768)}, r"shape \[0, 768\]"),
        ({"clip_l": torch.zeros(1, 2, 768)}, r"shape \[1, 2, 768\]"),
        ({"clip_l": torch.tensor([[1.0, float("nan")]])}, "NaN"),
        ({"clip_l": torch.tensor([[1.0, float("inf")]])}, "infinite"),
        ({"clip_l": torch.ones(1, 768, dtype=torch.int64)}, "int64"),
        ({"Clip L": torch.ones(1, 768)}, "not an encoder key"),
    ],
)
def test_bad_vectors_are_refused(vectors: dict, message: str) -> None:
    with pytest.raises(EmbeddingError, match=message):
        Embedding("a", vectors)


def test_a_bad_name_is_refused() -> None:
    with pytest.raises(EmbeddingError, match="use letters"):
        Embedding("a b", {"clip_l": torch.ones(1, 768)})


def test_nothing_can_be_changed() -> None:
    embedding = Embedding("a", {"clip_l": torch.ones(1, 768)}, {"k": "v"})
    with pytest.raises(TypeError):
        embedding.vectors["clip_l"] = torch.zeros(1, 768)  # type: ignore[index]
    with pytest.raises(AttributeError):
        embedding.name = "b"  # type: ignore[misc]
    assert embedding.with_metadata(k="w").metadata == {"k": "w"}
    assert embedding.metadata == {"k": "v"}


def test_the_largest_encoder_counts() -> None:
    vectors = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(3, 1280)}
    embedding = Embedding("style/a", vectors)
    assert embedding.num_vectors == 3
    assert embedding.describe() == "3 vectors: clip_l [2, 768], clip_g [3, 1280]"
    assert embedding.prompt_text == "embedding:style/a"


def test_a_new_name_changes_title_and_trigger_phrase() -> None:
    vectors = {"clip_l": torch.ones(1, 768)}
    embedding = Embedding("a", vectors, describe(name="a", steps=3)).renamed("b")
    assert embedding.metadata["modelspec.title"] == "b"
    assert embedding.metadata["modelspec.trigger_phrase"] == "embedding:b"
    assert embedding.metadata["textual_inversion.steps"] == "3"


def test_metadata_of_a_training() -> None:
    said = describe(
        name="my-cat",
        encoders=["clip_l"],
        num_vectors=4,
        base_model="sd15.safetensors",
        initializer_text="cat",
        kind="subject",
        steps=400,
        pictures=6,
        recipe={"seed": 1, "learning_rate": 0.05},
        resolution=(512, 768),
    )
    assert said["modelspec.sai_model_spec"] == "1.0.1"
    assert said["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert said["modelspec.resolution"] == "512x768"
    assert said["textual_inversion.recipe"] == '{"learning_rate":0.05,"seed":1}'
    assert recipe_of(said) == {"learning_rate": 0.05, "seed": 1}
    assert "modelspec.date" not in said, "a date would make every file different"
    assert describe(name="a", date="2026-01-01")["modelspec.date"] == "2026-01-01"


@pytest.mark.parametrize("text", ["", "no json", "[1]"])
def test_an_unreadable_recipe_is_no_recipe(text: str) -> None:
    assert recipe_of({"textual_inversion.recipe": text}) == {}
