"""Facts about files: right, found out late, and forgotten when the file changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.file_cache import FileCache
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.metadata import describe
from textual_inversion.embeddings_io.model_families import FAMILIES, fit, made_for
from textual_inversion.embeddings_io.saving import save
from textual_inversion.embeddings_io.thumbnails import with_cover

OLD = 1_500_000_000


def test_the_facts_of_every_kind_of_file(tmp_path: Path) -> None:
    said = describe(name="cat", base_model="model.safetensors", steps=5)
    cat = Embedding("cat", {"clip_l": torch.full((3, 768), 0.1)}, said)
    save(with_cover(cat, Image.new("RGB", (9, 9))), tmp_path)
    both = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}
    save(Embedding("xl", both), tmp_path)
    formats.write(cat.renamed("old"), tmp_path, "a1111_pt")
    (tmp_path / "broken.pt").write_bytes(b"no")
    library = Library([tmp_path])
    facts = library.facts("cat")
    assert facts.shapes == (("clip_l", 3, 768),) and facts.num_vectors == 3
    assert facts.made_for == "Stable Diffusion 1.x" and facts.has_picture
    assert (facts.title, facts.trigger) == ("cat", "embedding:cat")
    assert facts.base_model == "model.safetensors" and facts.problem == ""
    assert facts.describe() == (
        "3 vectors for Stable Diffusion 1.x (clip_l 768), ComfyUI safetensors"
    )
    assert library.facts("xl").made_for == "SDXL" and not library.facts("xl").has_picture
    assert library.facts("old").label == formats.FORMATS["a1111_pt"].LABEL
    assert library.facts("broken.pt").problem.startswith("broken.pt ")
    assert library.thumbnail("cat").size == (9, 9)
    Image.new("RGB", (7, 7)).save(tmp_path / "broken.jpg")
    assert library.thumbnail("broken.pt").size == (7, 7) and library.thumbnail("old") is None
    assert library.norms("cat") == {"clip_l": pytest.approx(0.1 * 768**0.5)}


def test_facts_are_found_out_once_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(Embedding("cat", {"clip_l": torch.ones(1, 768)}), tmp_path)
    os.utime(path, (OLD, OLD))
    library, read = Library([tmp_path]), []
    look = formats.describe
    monkeypatch.setattr(formats, "describe", lambda path: read.append(path) or look(path))
    first = library.file_hash("cat")
    assert library.facts("cat") is library.facts("cat") and read == [path]
    assert library.fingerprint("cat") == first
    save(Embedding("cat", {"clip_l": torch.zeros(1, 768)}), tmp_path, overwrite=True)
    assert library.facts("cat").num_vectors == 1 and len(read) == 2
    assert library.file_hash("cat") != first


def test_an_embedding_is_read_once_until_its_file_changes(tmp_path: Path) -> None:
    path = save(Embedding("sub/cat", {"clip_l": torch.ones(1, 768)}), tmp_path)
    os.utime(path, (OLD, OLD))
    library = Library([tmp_path])
    first = library.read("cat").vectors["clip_l"]
    assert library.read("cat").name == "sub/cat"
    assert library.read("sub/cat").vectors["clip_l"].data_ptr() == first.data_ptr()
    save(Embedding("sub/cat", {"clip_l": torch.zeros(1, 768)}), tmp_path, overwrite=True)
    assert not library.read("cat").vectors["clip_l"].any()
    entry = library.index().find("cat")
    path.unlink()
    with pytest.raises(EmbeddingError, match=r"cat\.safetensors cannot be read: No such file"):
        library.read_entry(entry)


def test_a_young_file_is_never_taken_for_known(tmp_path: Path) -> None:
    """Two writes of one size within one tick of the clock would have one stamp."""
    path, made = tmp_path / "a", []
    path.write_bytes(b"x")
    cache = FileCache(lambda path: made.append(1) or path.read_bytes())
    assert cache.of(path) == b"x" and cache.of(path) == b"x" and len(made) == 2
    os.utime(path, (OLD, OLD))
    assert cache.of(path) == b"x" and cache.of(path) == b"x" and len(made) == 3


def test_the_cache_has_an_end(tmp_path: Path) -> None:
    cache = FileCache(lambda path: path.name, limit=3)
    paths = [tmp_path / str(number) for number in range(9)]
    for path in paths:
        path.write_bytes(b"")
        os.utime(path, (OLD, OLD))
        cache.of(path)
    assert sorted(cache._kept) == [str(path) for path in paths[-3:]]
    heavy = FileCache(lambda path: path.name, limit=3, weigh=lambda _: 2)
    assert [heavy.of(path) for path in paths] == [path.name for path in paths]
    assert len(heavy._kept) == 1 and heavy._weight == 2


def test_every_family_is_known_by_its_encoders() -> None:
    assert made_for({"clip_g": 1280, "clip_l": 768}) == "SDXL"
    assert made_for({"qwen9": 1, "clip_l": 768}) == "models with qwen9 and clip_l"
    assert len(set(FAMILIES.values())) == len(FAMILIES)


SD1, XL = {"clip_l": 768}, {"clip_l": 768, "clip_g": 1280}


@pytest.mark.parametrize(
    ("widths", "encoders", "used", "warning"),
    [
        (SD1, SD1, ("clip_l",), ""),
        (XL, XL, ("clip_l", "clip_g"), ""),
        (
            SD1,
            XL,
            ("clip_l",),
            "'cat' is made for Stable Diffusion 1.x (clip_l 768); this CLIP has clip_l 768 and "
            "clip_g 1280: only clip_l will be used.",
        ),
        (
            XL,
            SD1,
            ("clip_l",),
            "'cat' is made for SDXL (clip_l 768 and clip_g 1280); this CLIP has clip_l 768: only "
            "clip_l will be used.",
        ),
        (
            {"clip_h": 1024},
            SD1,
            (),
            "'cat' is made for Stable Diffusion 2.x (clip_h 1024); this CLIP has clip_l 768: it "
            "cannot be used here; connect the CLIP of a model that it was made for.",
        ),
        (
            {"clip_l": 8},
            SD1,
            (),
            "'cat' is made for Stable Diffusion 1.x (clip_l 8); this CLIP has clip_l 768: it "
            "cannot be used here; connect the CLIP of a model that it was made for.",
        ),
    ],
)
def test_what_a_clip_can_use(widths: dict, encoders: dict, used: tuple, warning: str) -> None:
    found = fit("cat", widths, encoders)
    assert found.used == used and found.warning == warning


def test_both_files_of_a_pair_count(tmp_path: Path) -> None:
    """diffusers writes SDXL's encoders into two files, of which a name means the first."""
    save(pair(1.0), tmp_path, format_name="diffusers")
    first, second = tmp_path / "xl.safetensors", tmp_path / "xl_2.safetensors"
    grow_old(first, second)
    library = Library([tmp_path])
    whole = library.fingerprint("xl")
    assert library.facts("xl").made_for == "SDXL" and library.fingerprint("xl") == whole
    assert library.read("xl").vectors["clip_g"][0, 0] == 1
    save(pair(2.0), tmp_path / "other", format_name="diffusers")
    os.replace(tmp_path / "other" / "xl_2.safetensors", second)
    grow_old(second)
    assert library.read("xl").vectors["clip_g"][0, 0] == 2
    assert library.norms("xl")["clip_g"] == pytest.approx(2 * 1280**0.5)
    changed = library.fingerprint("xl")
    assert changed != whole
    second.rename(tmp_path / "away")
    assert list(library.read("xl").vectors) == ["clip_l"]
    assert library.facts("xl").made_for == "Stable Diffusion 1.x"
    assert library.fingerprint("xl") == library.file_hash("xl")
    (tmp_path / "away").rename(second)
    assert library.facts("xl").made_for == "SDXL" and library.fingerprint("xl") == changed


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_second_file_that_is_a_link_elsewhere_is_not_read(tmp_path: Path) -> None:
    save(pair(1.0), tmp_path / "store", format_name="diffusers")
    (tmp_path / "mine").mkdir()
    first, second = (tmp_path / "mine" / f"xl{part}.safetensors" for part in ("", "_2"))
    first.write_bytes((tmp_path / "store" / "xl.safetensors").read_bytes())
    second.symlink_to(tmp_path / "store" / "xl_2.safetensors")
    assert list(formats.read(first).vectors) == ["clip_l"]
    first.unlink()
    first.symlink_to(tmp_path / "store" / "xl.safetensors")
    assert list(formats.read(first).vectors) == ["clip_l", "clip_g"]


def pair(value: float) -> Embedding:
    return Embedding("xl", {"clip_l": torch.ones(1, 768), "clip_g": torch.full((1, 1280), value)})


def grow_old(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (OLD, OLD))
