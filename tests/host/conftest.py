"""Training pictures and a short training run for the tests against the server."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy
import pytest
from PIL import Image

CHECKPOINT = "microworld.safetensors"


def drawn_picture(seed: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A coloured disc on a plain ground, as PNG bytes."""
    random = numpy.random.default_rng(seed)
    width, height = size
    rows, columns = numpy.mgrid[0:height, 0:width]
    x, y = random.uniform(0.35, 0.65, 2) * (width, height)
    inside = (columns - x) ** 2 + (rows - y) ** 2 < (0.25 * min(size)) ** 2
    ground = random.uniform(60, 200, 3)
    pixels = numpy.where(inside[..., None], (200, 40, 160), ground)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(numpy.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def pictures(client) -> list[str]:
    """Names of six uploaded pictures, 64 px."""
    return [client.upload(f"disc{i}.png", drawn_picture(i), "tests") for i in range(6)]


@pytest.fixture(scope="session")
def train(client, pictures) -> Callable:
    """``train(name, **inputs)`` posts a short training run and follows it to its end."""
    from textual_inversion.devtools import workflows

    return functools.partial(_train, client, workflows, pictures)


def _train(client, workflows, uploaded, name, *, watch=None, extra=None, **changes):
    inputs = {
        "name": name,
        "initializer_text": "toy",
        "kind": "subject",
        "num_vectors": 1,
        "steps": 8,
        "learning_rate": 0.02,
        "batch_size": 2,
        "seed": 3,
        "overwrite": False,
    }
    inputs |= changes
    given = inputs.pop("pictures", uploaded)
    workflow = workflows.training(CHECKPOINT, given, extra_inputs=extra, **inputs)
    return client.run(workflow, watch=watch)


@pytest.fixture(scope="session")
def sample(client) -> Callable:
    """``sample(prompt)`` -> (pixels [n, h, w, 3] uint8, the run)."""
    from textual_inversion.devtools import workflows

    def run(prompt: str, **options) -> tuple[numpy.ndarray, object]:
        options = {"steps": 4, "count": 2, "prefix": "tests"} | options
        ended = client.run(workflows.sampling(CHECKPOINT, prompt, **options))
        assert ended.succeeded, ended.error
        images = ended.outputs[workflows.SAVED]["images"]
        pictures = [Image.open(io.BytesIO(client.picture(image))) for image in images]
        return numpy.stack([numpy.asarray(picture) for picture in pictures]), ended

    return run


@pytest.fixture
def untouched_models(sample) -> Callable:
    """Sample now; calling it samples again through the same loaded models and compares.

    The prompt differs by a space at its end, which makes ComfyUI run it anew and means the
    same to the text encoder; the checkpoint stays the one that the other nodes worked on.
    """
    before, _ = sample("a photo of a toy", steps=6)
    ends = iter(range(1, 9))

    def unchanged() -> bool:
        after, run = sample("a photo of a toy" + " " * next(ends), steps=6)
        cached = [data["nodes"] for kind, data in run.messages if kind == "execution_cached"]
        assert any("checkpoint" in nodes for nodes in cached), "the models were loaded anew"
        assert not any("sample" in nodes for nodes in cached), "nothing was sampled"
        return bool((before == after).all())

    return unchanged
