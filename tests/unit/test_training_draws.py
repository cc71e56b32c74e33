"""What a step is made of: timesteps, the loss, pictures and their batches."""

from __future__ import annotations

import collections

import pytest
import torch

from textual_inversion.training import losses, timesteps
from textual_inversion.training.dataset import CachedPicture, Dataset
from textual_inversion.training.pictures import PictureError, bucket, prepare, target_sizes

SIGMAS = torch.logspace(-1.5, 1.16, 1000)


def test_the_high_noise_density_follows_its_law():
    p = timesteps.density(SIGMAS, "high_noise", 0.0, 1.0)
    log_snr = -2 * SIGMAS.double().log()
    expected = log_snr.max() - log_snr
    assert torch.allclose(p, expected / expected.sum())
    assert p[900] > p[500] > p[100] > p[0] == 0


def test_nothing_is_drawn_outside_the_range():
    p = timesteps.density(SIGMAS, "uniform", 0.1, 0.6)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([timesteps.draw(p, 7, generator) for _ in range(300)])
    assert drawn.min() >= 100 and drawn.max() <= 599 + 1
    assert p.sum().item() == pytest.approx(1.0)


def test_draws_are_stratified_and_follow_the_density():
    p = timesteps.density(SIGMAS, "high_noise", 0.05, 0.95)
    cumulative = p.cumsum(0)
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(1000)
    for _ in range(2000):
        drawn = timesteps.draw(p, 4, generator)
        shares = (cumulative[drawn] * 4 - 1e-9).floor().clamp(0, 3)
        edges = (cumulative[drawn] - p[drawn]) * 4
        assert len(set(shares.tolist()) | set(edges.floor().tolist())) >= 4
        counts += torch.bincount(drawn, minlength=1000)
    halves = counts[:500].sum() / counts.sum()
    assert halves.item() == pytest.approx(p[:500].sum().item(), abs=0.02)


def test_without_a_generator_the_draw_is_the_middles():
    p = timesteps.density(SIGMAS, "uniform", 0.0, 1.0)
    assert timesteps.draw(p, 4, None).tolist() == pytest.approx([125, 375, 625, 875], abs=1)


@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_the_residual_is_that_of_the_networks_own_prediction(prediction):
    generator = torch.Generator().manual_seed(0)
    x0, noise, output = (torch.randn(3, 4, 5, 5, generator=generator).double() for _ in range(3))
    sigma = torch.tensor([0.03, 0.7, 0.9 if prediction == "flow" else 14.0]).double()
    s = sigma.view(-1, 1, 1, 1)
    if prediction == "eps":
        noisy, target = x0 + s * noise, noise
        denoised = noisy - s * output
    elif prediction == "v":
        noisy = x0 + s * noise
        target = (noise - s * x0) / (1 + s * s).sqrt()
        denoised = noisy / (1 + s * s) - output * s / (1 + s * s).sqrt()
    else:
        noisy, target = (1 - s) * x0 + s * noise, noise - x0
        denoised = noisy - s * output
    found = losses.residual(denoised.float().double(), x0, sigma, prediction)
    assert torch.allclose(found.abs(), (output - target).abs(), atol=1e-3)


def test_huber_is_square_near_zero_and_straight_far_away():
    small = losses.penalty(torch.full((1, 4), 1e-3), "huber", 1.0)
    assert small.item() == pytest.approx(1e-6, rel=1e-2)
    near, far = (losses.penalty(torch.full((1, 4), x), "huber", 0.1).item() for x in (50.0, 100.0))
    assert far / near == pytest.approx(2.0, rel=1e-2)


def cached(count: int, shape: tuple[int, ...] = (4, 8, 8), std: float | None = None):
    spread = None if std is None else torch.full(shape, std)
    return [CachedPicture(torch.full(shape, float(i)), spread, i) for i in range(count)]


def test_every_picture_comes_once_before_any_comes_again():
    dataset = Dataset(cached(6))
    generator = torch.Generator().manual_seed(0)
    drawn = [picture.source for _ in range(30) for picture in dataset.draw(4, generator)]
    counts = collections.Counter(drawn)
    assert set(counts.values()) == {20}


def test_a_batch_holds_different_pictures_while_there_are_enough():
    dataset = Dataset(cached(6))
    generator = torch.Generator().manual_seed(1)
    for _ in range(100):
        assert len({picture.source for picture in dataset.draw(4, generator)}) == 4
    assert len(Dataset(cached(2)).draw(5, generator)) == 5


def test_a_batch_comes_from_one_bucket_and_all_buckets_come():
    dataset = Dataset([*cached(3), *cached(3, (4, 8, 12))])
    generator = torch.Generator().manual_seed(0)
    shapes = collections.Counter()
    for _ in range(100):
        batch = {tuple(picture.mean.shape) for picture in dataset.draw(2, generator)}
        assert len(batch) == 1
        shapes[batch.pop()] += 1
    assert min(shapes.values()) > 30


def test_moments_are_resampled_with_every_use():
    picture = cached(1, std=0.5)[0]
    generator = torch.Generator().manual_seed(0)
    samples = torch.stack([picture.sample(generator) for _ in range(400)])
    assert samples.std(dim=0).mean().item() == pytest.approx(0.5, rel=0.1)
    assert torch.equal(cached(1)[0].sample(generator), torch.zeros(4, 8, 8))


def test_no_pictures_is_an_error():
    with pytest.raises(PictureError, match="no pictures"):
        prepare([], (), resolution=512, flip=False)


def test_pictures_of_one_small_size_are_kept_as_they_are():
    images = torch.rand(3, 64, 96, 3)
    prepared = prepare([images], (), resolution=512, flip=False)
    assert all(torch.equal(p.pixels, i) for p, i in zip(prepared, images, strict=True))


def test_pictures_of_many_sizes_keep_their_aspect():
    sizes = [(480, 640), (1000, 500), (768, 768), (3000, 4000)]
    for (height, width), (rows, columns) in zip(sizes, target_sizes(sizes, 512), strict=True):
        assert rows % 64 == 0 and columns % 64 == 0
        assert 0.7 * 512**2 <= rows * columns <= 512**2
        assert (columns / rows) / (width / height) == pytest.approx(1, abs=0.1)


def test_tiny_pictures_are_not_blown_up():
    for size in target_sizes([(64, 64), (64, 80), (96, 64)], 512):
        assert size[0] * size[1] <= 80 * 64 and size[0] % 8 == size[1] % 8 == 0


def test_square_pictures_get_the_square_bucket():
    assert bucket((900, 900), 512, 64) == (512, 512)


def test_cropping_is_from_the_middle_and_never_squashes():
    image = torch.zeros(1, 100, 300, 3)
    image[:, :, 100:200] = 1.0
    prepared = prepare([image, torch.zeros(1, 96, 96, 3)], (), resolution=96, flip=False)
    height, width = prepared[0].pixels.shape[:2]
    bright = (prepared[0].pixels[height // 2, :, 0] > 0.5).sum().item()
    scale = max(height / 100, width / 300)
    assert bright == pytest.approx(min(width, 100 * scale), abs=2)


def test_flipping_adds_a_twin_of_the_same_source():
    images = torch.rand(2, 64, 64, 3)
    prepared = prepare([images], (), resolution=512, flip=True)
    assert [picture.source for picture in prepared] == [0, 0, 1, 1]
    assert torch.equal(prepared[1].pixels, images[0].flip(1))


def test_nan_is_refused_and_the_picture_named():
    images = torch.rand(3, 64, 64, 3)
    images[1, 5, 5, 0] = float("nan")
    with pytest.raises(PictureError, match="Picture 2"):
        prepare([images], (), resolution=512, flip=False)


def test_grey_is_spread_and_alpha_is_no_colour():
    for channels in (1, 4):
        images = torch.rand(1, 64, 64, channels)
        prepared = prepare([images], (), resolution=512, flip=False)[0]
        assert torch.equal(prepared.pixels, images[0, :, :, :3].expand(-1, -1, 3))


def test_captions_are_matched_to_pictures():
    images = [torch.rand(3, 64, 64, 3)]
    lines = prepare(images, ["a {}\nb {}\nc {}"], resolution=512, flip=False)
    assert [picture.caption for picture in lines] == ["a {}", "b {}", "c {}"]
    listed = prepare(images, ["a", "", "c"], resolution=512, flip=False)
    assert [picture.caption for picture in listed] == ["a", None, "c"]
    one = prepare(images, ["only"], resolution=512, flip=False)
    assert [picture.caption for picture in one] == ["only"] * 3
    with pytest.raises(PictureError, match="2 captions for 3 pictures"):
        prepare(images, ["a", "b"], resolution=512, flip=False)
