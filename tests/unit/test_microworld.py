"""The toy world: what it draws, says and holds out, and how its weights are packed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from textual_inversion.microworld import (
    archive,
    captions,
    concepts,
    diffusion,
    judge,
    muon,
    networks,
    renderer,
    tokens,
    train_diffusion,
    world,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_seed_draws_the_same_pictures() -> None:
    first = renderer.render(world.draw_scenes(8, generator()))
    again = renderer.render(world.draw_scenes(8, generator()))
    other = renderer.render(world.draw_scenes(8, generator(1)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (8, 3, 64, 64)
    assert first.min() >= 0
    assert first.max() <= 1


@pytest.mark.parametrize("attribute", ["shape", "colour", "texture", "size", "position"])
def test_every_value_of_an_attribute_looks_different(attribute: str) -> None:
    values = world.VALUES[attribute]
    scenes = world.scenes_like(1, generator(), shape="circle", colour="red", texture="striped")
    scenes = world.Scenes.join([scenes] * len(values))
    setattr(scenes, attribute, torch.arange(len(values)))
    pictures = renderer.render(scenes).flatten(1)
    distances = torch.cdist(pictures, pictures) + 100 * torch.eye(len(values))
    assert distances.min() > 1.0


def test_unseen_pairs_and_held_out_values_are_never_trained_on() -> None:
    scenes = world.draw_scenes(20_000, generator())
    pairs = set(zip(scenes.shape.tolist(), scenes.colour.tolist(), strict=True))
    for shape, colour in world.UNSEEN_PAIRS:
        assert (world.SHAPES.index(shape), world.COLOURS.index(colour)) not in pairs
    assert len(pairs) == len(world.SHAPES) * len(world.COLOURS) - len(world.UNSEEN_PAIRS)
    assert int(scenes.colour.max()) < len(world.COLOURS)
    assert int(scenes.style.max()) < len(world.STYLES)


def test_captions_name_what_is_shown_and_fit_the_window() -> None:
    scenes = world.draw_scenes(3000, generator())
    draw = random.Random(0)
    said = [
        captions.caption(captions.words_of(scenes, i), bool(scenes.spoilt[i]), draw)
        for i in range(len(scenes))
    ]
    empty = sum(not caption for caption in said) / len(said)
    assert 0.08 < empty < 0.12
    for i, caption in enumerate(said):
        own = captions.words_of(scenes, i)["shape"]
        assert not any(f" {shape}" in f" {caption}" for shape in world.SHAPES if shape != own)
    rows = tokens.table_rows(said)
    assert rows.shape == (3000, networks.WINDOW)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, -1] == 1).all()


def test_the_token_table_covers_the_grammar() -> None:
    assert set(captions.vocabulary()) == set(tokens.ids_of_words())


def test_concepts_share_what_they_fix_and_vary_the_rest() -> None:
    for wanted in concepts.CONCEPTS:
        scenes = concepts.scenes(wanted)
        assert len(scenes) == concepts.PICTURES
        words = [captions.words_of(scenes, i) for i in range(len(scenes))]
        for name, values in world.VALUES.items():
            found = {each[name] for each in words}
            if name in {**wanted.fixed, **wanted.shared}:
                assert len(found) == 1
            elif name != "style":
                assert len(found) >= min(len(values), concepts.PICTURES) - 2


def test_a_pack_of_weights_comes_back_within_its_rounding(tmp_path: Path) -> None:
    tensors = {"matrix": torch.randn(16, 9, 3, 3), "vector": torch.randn(7)}
    archive.pack(tensors, tmp_path / "weights.xz")
    back = archive.unpack(tmp_path / "weights.xz")
    step = tensors["matrix"].flatten(1).abs().amax(1).view(-1, 1, 1, 1) / 127
    assert ((back["matrix"] - tensors["matrix"]).abs() <= 0.51 * step + 1e-3).all()
    assert torch.allclose(back["vector"], tensors["vector"], atol=2e-3)


def test_muon_orthogonalises() -> None:
    values = torch.linalg.svdvals(muon.orthogonalised(torch.randn(20, 90)))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_timesteps_are_stratified_and_lean_to_noise() -> None:
    drawn = diffusion.draw_timesteps(4000, generator())
    assert drawn.min() >= 0
    assert drawn.max() < diffusion.STEPS
    assert (drawn >= 500).float().mean() > 0.6


def test_shared_contexts_equal_repeated_ones() -> None:
    torch.manual_seed(0)
    unet = networks.UNet().eval()
    latents, times = torch.randn(6, 4, 8, 8), torch.randint(0, 1000, (6,))
    context = torch.randn(2, networks.WINDOW, networks.TEXT_WIDTH)
    with torch.no_grad():
        shared = unet(latents, times, context)
        repeated = unet(latents, times, context.repeat_interleave(3, 0))
    assert torch.allclose(shared, repeated, atol=1e-5)


def test_the_shipped_judge_reads_fresh_renderings() -> None:
    scenes = world.draw_scenes(300, generator(5))
    shares = judge.accuracy(judge.trained(), renderer.render(scenes), scenes)
    assert min(shares.values()) > 0.93, shares


def test_no_caption_reaches_the_padding_that_tells_the_place() -> None:
    scenes, draw = world.draw_scenes(2000, generator()), random.Random(1)
    said = [captions.caption(captions.words_of(scenes, i), False, draw) for i in range(2000)]
    rows = tokens.table_rows(said)
    assert (rows[:, train_diffusion.PADDING :] == rows[0, -1]).all()


def test_a_network_that_knows_the_picture_has_no_blank_loss() -> None:
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=generator())
    alpha = diffusion.ALPHAS[-1]
    exact = (noise - alpha.sqrt() * latents) / (1 - alpha).sqrt()
    known = diffusion.blank_loss(lambda *_: exact, latents, noise, torch.empty(3, 77, 8))
    unknown = diffusion.blank_loss(lambda *_: noise, latents, noise, torch.empty(3, 77, 8))
    assert known.max() < 1e-6
    assert unknown.min() > 0.1


@torch.no_grad()
def test_the_shipped_networks_put_things_where_the_words_say() -> None:
    model = train_diffusion.Model()
    model.load_state_dict(archive.unpack(), strict=False)
    noise = torch.randn(48, 4, 8, 8, generator=generator())
    last = torch.full((48,), diffusion.STEPS - 1)

    def mean_prediction(place: str) -> torch.Tensor:
        said = tokens.table_rows([f"a photo of a large red circle {place}, on a black background"])
        return model.unet(noise, last, model.text(said).expand(48, -1, -1)).mean(0)

    left, right = mean_prediction("on the left"), mean_prediction("on the right")
    difference = (left - right) * ((1 - diffusion.ALPHAS[-1]) / diffusion.ALPHAS[-1]).sqrt()
    assert difference.abs().mean() > 0.15  # 0.24 in the pictures, 0.00 where places are not known


@torch.no_grad()
def test_a_compound_lies_between_the_words_that_it_means() -> None:
    torch.manual_seed(0)
    model = train_diffusion.Model()
    plain, mixed = model._embedded(
        [
            train_diffusion.Said("a photo of a thing", []),
            train_diffusion.Said("a photo of a thing", ["red", "star"]),
        ]
    )
    changed = (plain != mixed).any(-1).nonzero()[:, 0]
    assert len(changed) == 1
    rows = tokens.rows_of_words()
    words = model.text.token_embedding.weight[[rows["red"][0], rows["star"][0]]]
    cosine = torch.nn.functional.cosine_similarity(mixed[changed], words)
    assert cosine.min() > 0.3
    assert mixed[changed].norm() == pytest.approx(train_diffusion.TOKEN_NORM[0], rel=1e-5)


def test_what_a_compound_means_is_not_said_again() -> None:
    scenes, draw = world.draw_scenes(300, generator()), random.Random(2)
    for i in range(300):
        words = captions.words_of(scenes, i)
        names = captions.compound(words, draw)
        assert names[0] == "shape"
        left = {name: word for name, word in words.items() if name not in names}
        said = captions.caption(left, False, draw).replace(",", " ").split()
        assert not said or captions.COMPOUND in said
        assert words["shape"] not in said
