"""Pictures of a folder: upright, with captions and masks, and nothing outside the input folder."""

from __future__ import annotations

import os

import numpy
import pytest
import torch
from PIL import Image


@pytest.fixture
def folder(comfyui_path, tmp_path, monkeypatch):
    import folder_paths

    root = tmp_path / "input"
    (root / "jug").mkdir(parents=True)
    monkeypatch.setattr(folder_paths, "input_directory", str(root))
    return root / "jug"


def picture(width=48, height=32, mode="RGB", color=None) -> Image.Image:
    return Image.new(mode, (width, height), color or {"RGB": (255, 0, 0)}.get(mode, 0))


def read(largest_side=2048):
    from textual_inversion.host.picture_folder import read_folder

    return read_folder("jug", largest_side)


def test_pictures_come_in_the_order_of_their_numbers_with_captions(folder):
    for number in (10, 2, 1):
        picture().save(folder / f"shot {number}.png")
    (folder / "shot 2.txt").write_bytes("\ufeffa red\n jug ".encode())
    (folder / "shot 10.caption").write_text("ten", encoding="utf-8")
    (folder / "notes.md").write_text("no picture")
    found = read()
    assert [each.path.stem for each in found] == ["shot 1", "shot 2", "shot 10"]
    assert [each.caption for each in found] == ["", "a red jug", "ten"]
    assert found[0].pixels.shape == (1, 32, 48, 3) and not found[0].mask.any()
    assert torch.equal(found[0].pixels[0, 0, 0], torch.tensor([1.0, 0.0, 0.0]))


def test_a_picture_on_its_side_is_turned_upright(folder):
    image = picture()
    image.putpixel((0, 0), (0, 255, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.png", exif=exif)
    found = read()[0]
    assert found.pixels.shape == (1, 48, 32, 3)
    assert torch.equal(found.pixels[0, 0, -1], torch.tensor([0.0, 1.0, 0.0]))


def test_masks_come_from_a_file_or_from_alpha(folder):
    half = Image.new("L", (48, 32))
    half.paste(255, (0, 0, 24, 32))
    picture().save(folder / "a.png")
    half.save(folder / "a.mask.png")
    clear = picture(mode="RGBA", color=(9, 9, 9, 255))
    clear.putalpha(half)
    clear.save(folder / "b.webp", lossless=True, exact=True)
    picture(mode="RGBA", color=(9, 9, 9, 255)).save(folder / "c.png")
    found = {each.path.name: each for each in read()}
    assert set(found) == {"a.png", "b.webp", "c.png"}
    expected = torch.zeros(1, 32, 48)
    expected[..., :24] = 1.0
    assert torch.equal(found["a.png"].mask, expected)
    assert torch.equal(found["b.webp"].mask, expected)
    assert not found["c.png"].mask.any()


@pytest.mark.parametrize("mode", ["L", "P", "LA", "CMYK", "I;16", "1"])
def test_every_kind_of_picture_becomes_three_channels(folder, mode):
    levels = numpy.full((32, 48), 32896, dtype=numpy.uint16)
    image = Image.fromarray(levels) if mode == "I;16" else picture(mode=mode)
    image.save(folder / ("p.tif" if mode == "CMYK" else "p.png"))
    pixels = read()[0].pixels
    assert pixels.shape == (1, 32, 48, 3) and 0 <= pixels.min() <= pixels.max() <= 1
    if mode == "I;16":
        assert abs(float(pixels.mean()) - 128 / 255) < 0.01


def test_large_pictures_are_scaled_down_and_small_ones_left(folder):
    picture(400, 200).save(folder / "large.png")
    picture(20, 30).save(folder / "small.png")
    assert [tuple(each.pixels.shape[1:3]) for each in read(100)] == [(50, 100), (30, 20)]


def test_a_broken_picture_is_named(folder):
    from textual_inversion.training.pictures import PictureError

    picture().save(folder / "good.png")
    whole = (folder / "good.png").read_bytes()
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PictureError, match=r"torn\.png"):
        read()
    for each in folder.iterdir():
        each.unlink()
    with pytest.raises(PictureError, match="no pictures"):
        read()


@pytest.mark.parametrize(
    "name", ["..", "../..", "/", "/etc", "jug/../..", "none", "jug/a.png", "", "jug\\x", "C:"]
)
def test_only_folders_of_the_input_directory_are_read(folder, name):
    from textual_inversion.host.picture_folder import inside_input
    from textual_inversion.training.pictures import PictureError

    picture().save(folder / "a.png")
    with pytest.raises(PictureError, match="no folder"):
        inside_input(name)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="this system has no links")
def test_a_link_that_was_put_into_the_input_directory_is_a_folder(folder, tmp_path):
    from textual_inversion.host.picture_folder import picture_folders, read_folder

    (tmp_path / "elsewhere").mkdir()
    picture().save(tmp_path / "elsewhere" / "a.png")
    (folder.parent / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (folder / "loop").symlink_to(folder.parent, target_is_directory=True)
    assert "link" in picture_folders()
    assert len(read_folder("link", 512)) == 1


def test_folders_with_pictures_are_listed_and_changes_are_seen(folder):
    from textual_inversion.host.picture_folder import fingerprint, picture_folders

    (folder.parent / "empty").mkdir()
    (folder / "more").mkdir()
    picture().save(folder / "more" / "x.jpg")
    assert picture_folders() == ["jug/more"]
    picture().save(folder / "a.png")
    assert picture_folders() == ["jug", "jug/more"]
    before = fingerprint("jug")
    assert fingerprint("jug") == before
    (folder / "a.txt").write_text("caption")
    assert fingerprint("jug") != before


def test_the_node_gives_lists_for_training(folder):
    from textual_inversion.nodes.dataset_folder import DatasetFolder

    picture().save(folder / "a.png")
    picture(64, 64).save(folder / "b.png")
    (folder / "b.txt").write_text("two")
    output = DatasetFolder.execute("jug")
    images, captions, masks = output.result
    assert [tuple(each.shape) for each in images] == [(1, 32, 48, 3), (1, 64, 64, 3)]
    assert captions == ["", "two"] and [tuple(each.shape) for each in masks] == [
        (1, 32, 48),
        (1, 64, 64),
    ]
    assert all(each.is_output_list for each in DatasetFolder.define_schema().outputs)
    assert DatasetFolder.fingerprint_inputs("jug") != DatasetFolder.fingerprint_inputs("jug", 64)
