"""Masks go with their pictures through scaling, cropping and mirroring."""

from __future__ import annotations

import pytest
import torch

from textual_inversion.training.masks import MaskError, match_masks
from textual_inversion.training.pictures import prepare, prepare_good


def left_half(height=64, width=64) -> torch.Tensor:
    mask = torch.zeros(height, width)
    mask[:, : width // 2] = 1.0
    return mask


def masks_of(images, masks=(), **options):
    return [
        each.mask
        for each in prepare(
            images, (), **({"resolution": 512, "flip": False} | options), masks=masks
        )
    ]


def test_a_mask_for_each_or_one_for_all():
    images = [torch.rand(2, 64, 64, 3)]
    one = masks_of(images, [left_half()], background=0.1)
    assert all(torch.allclose(each, 0.1 + 0.9 * left_half()) for each in one)
    other = torch.stack([left_half(), 1 - left_half()])
    assert torch.allclose(masks_of(images, [other])[1], 1 - left_half())
    with pytest.raises(MaskError, match="3 masks for 2 pictures"):
        masks_of(images, [other, left_half()])


def test_alpha_is_a_mask_and_an_opaque_picture_has_none():
    cut = torch.cat([torch.rand(64, 64, 3), left_half()[..., None]], dim=-1)
    opaque = torch.ones(64, 64, 4)
    found = masks_of([cut[None], opaque[None]], background=0.2)
    assert torch.allclose(found[0], 0.2 + 0.8 * left_half()) and found[1] is None


def test_black_or_white_all_over_is_no_mask():
    images = [torch.rand(2, 64, 64, 3)]
    assert masks_of(images, [torch.zeros(1, 64, 64)]) == [None, None]
    assert masks_of(images, [torch.ones(2, 64, 64)]) == [None, None]


def test_a_mask_is_cut_and_mirrored_with_its_picture():
    picture = left_half(96, 160)[..., None].expand(-1, -1, 3)
    images = [picture[None], torch.rand(1, 64, 64, 3)]
    masks = [left_half(96, 160), torch.zeros(64, 64)]
    prepared = prepare(images, (), resolution=64, flip=True, masks=masks)
    for each in prepared[:2]:
        assert each.mask.shape == each.pixels.shape[:2] != (96, 160)
        assert (each.mask - each.pixels[..., 0]).abs().max() < 0.02
    assert torch.equal(prepared[1].mask, prepared[0].mask.flip(1))
    assert prepared[1].flipped and not prepared[0].flipped


def test_another_size_is_fitted_and_another_shape_refused():
    picture = [torch.rand(1, 64, 128, 3)]
    fitted = masks_of(picture, [left_half(32, 64)])[0]
    assert torch.allclose(fitted, left_half(64, 128))
    with pytest.raises(MaskError, match="mask of picture 1 is 64x64"):
        masks_of(picture, [left_half()])
    with pytest.raises(MaskError, match="Expected masks"):
        match_masks([torch.rand(1, 3, 64, 64)], [picture[0][0]], 0.0)


def test_good_pictures_come_in_every_size_of_the_bad():
    good = prepare_good([torch.rand(2, 100, 80, 3)], [(64, 64), (48, 96), (64, 64)])
    assert [tuple(each.pixels.shape) for each in good] == [(64, 64, 3), (48, 96, 3)] * 2
    assert [each.source for each in good] == [0, 0, 1, 1] and all(each.good for each in good)


def test_size_and_cut_are_remembered():
    prepared = prepare(
        [torch.rand(1, 100, 300, 3), torch.rand(1, 96, 96, 3)], (), resolution=96, flip=False
    )
    assert [each.original for each in prepared] == [(100, 300), (96, 96)]
    height, width = prepared[0].pixels.shape[:2]
    scale = max(height / 100, width / 300)
    cut = (round(100 * scale) - height) // 2, (round(300 * scale) - width) // 2
    assert prepared[0].crop == cut and prepared[1].crop == (0, 0)
