"""The narrow networks and their widened checkpoint are one function, in ComfyUI's classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from textual_inversion.microworld import archive, concepts, expand, networks, tokens, world
from textual_inversion.microworld.learning import Learner
from textual_inversion.microworld.renderer import render

TOLERANCE = 5e-4  # in float32, relative to the largest output
CAPTIONS = ["a photo of a small red star on the left, on sand", "", "a sketch of a blue moon"]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return archive.unpack()


@pytest.fixture(scope="module")
def loaded(comfyui_path: Path, weights: dict[str, torch.Tensor]):
    import comfy.sd

    checkpoint = expand.full_checkpoint(weights, amputated=False)
    return comfy.sd.load_state_dict_guess_config(
        checkpoint, output_vae=True, output_clip=True, te_model_options={"dtype": torch.float32}
    )


def part(weights: dict[str, torch.Tensor], network: torch.nn.Module, prefix: str):
    own = {n.removeprefix(prefix): t for n, t in weights.items() if n.startswith(prefix)}
    network.load_state_dict(own)
    return network.eval()


def assert_same(narrow: torch.Tensor, wide: torch.Tensor) -> None:
    assert narrow.abs().max() > 0.1
    assert (narrow - wide).abs().max() <= TOLERANCE * narrow.abs().max()


def test_it_is_detected_as_stable_diffusion_1_5(loaded) -> None:
    assert type(loaded[0].model.model_config).__name__ == "SD15"


@torch.no_grad()
def test_unet(loaded, weights) -> None:
    unet = part(weights, networks.UNet(), "unet.")
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(3, 4, 8, 8, generator=generator)
    context = torch.zeros(3, networks.WINDOW, networks.TEXT_FULL_WIDTH)
    live = torch.randn(3, networks.WINDOW, networks.TEXT_WIDTH, generator=generator)
    context[..., : networks.TEXT_WIDTH] = live
    timesteps = torch.tensor([5, 400, 990])
    wide = loaded[0].model.diffusion_model(latents, timesteps, context=context)
    assert_same(unet(latents, timesteps, live), wide)


@torch.no_grad()
def test_text_encoder(loaded, weights) -> None:
    text = part(weights, networks.TextEncoder(len(tokens.live_ids())), "text.")
    rows = tokens.table_rows(CAPTIONS)
    narrow = text(rows)
    ids = [[tokens.live_ids()[row] for row in caption] for caption in rows.tolist()]
    wide = loaded[1].cond_stage_model.clip_l(ids)[0]
    assert wide.shape[-1] == networks.TEXT_FULL_WIDTH
    assert wide[..., networks.TEXT_WIDTH :].abs().max() == 0
    assert_same(narrow, wide[..., : networks.TEXT_WIDTH])


@torch.no_grad()
def test_autoencoder(loaded, weights) -> None:
    autoencoder = part(weights, networks.Autoencoder(), "autoencoder.")
    pictures = render(world.draw_scenes(4, torch.Generator().manual_seed(0)))
    latents = autoencoder.encode(pictures)
    vae = loaded[2]
    assert_same(latents, 0.18215 * vae.encode(pictures.movedim(1, -1)))
    decoded = vae.first_stage_model.decode(latents / 0.18215)
    assert_same(autoencoder.decode(latents), decoded / 2 + 0.5)


def test_captions_use_the_real_tokenizer(loaded) -> None:
    rows = tokens.table_rows(CAPTIONS)
    for caption, row in zip(CAPTIONS, rows.tolist(), strict=True):
        given = loaded[1].tokenize(caption)["l"][0]
        assert [token for token, _ in given] == [tokens.live_ids()[i] for i in row]


def test_amputated_words_are_gone_and_their_vectors_known(weights) -> None:
    whole = expand.full_checkpoint(weights, amputated=False)
    shipped = expand.full_checkpoint(weights)
    table = expand.TEXT_PREFIX + "embeddings.token_embedding.weight"
    for word, vectors in expand.amputated_vectors(weights).items():
        ids = tokens.ids_of_words()[word]
        assert torch.equal(whole[table][ids], vectors)
        assert torch.cosine_similarity(shipped[table][ids], vectors).abs().max() < 0.5
    changed = (whole[table] != shipped[table]).any(dim=1).sum()
    assert changed == len(world.AMPUTATED_WORDS)


def test_the_archive_is_small() -> None:
    assert archive.WEIGHTS.stat().st_size <= 8_000_000


def test_narrowed_models_learn_and_sample_as_the_wide_ones(
    comfyui_path: Path, checkpoint: Path
) -> None:
    """Also in the channels that the narrow text encoder does not have."""
    results = []
    for fast in (False, True):
        learner = Learner(comfyui_path, checkpoint, fast=fast)
        *_, last = learner.run(concepts.concept("red-star"), every=3, steps=3, probe_size=4)
        pictures = learner.pictures(last.vectors, "", count=2, seed=3)
        results.append((last, pictures))
    (wide, wide_pictures), (narrow, narrow_pictures) = results
    assert narrow.probe == pytest.approx(wide.probe, rel=1e-5)
    assert narrow.loss == pytest.approx(wide.loss, rel=1e-5)
    assert (narrow.vectors - wide.vectors).norm() <= 1e-4 * wide.vectors.norm()
    beyond = wide.vectors[:, networks.TEXT_WIDTH :]
    assert beyond.abs().max() > 0
    assert (narrow.vectors[:, networks.TEXT_WIDTH :] - beyond).norm() <= 1e-3 * beyond.norm()
    assert (narrow_pictures - wide_pictures).abs().max() < 0.02
