"""An embedding as text: it comes back bit for bit, and nothing else gets in."""

from __future__ import annotations

import base64

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textual_inversion.embeddings_io.carrier import MAX_BYTES, pack, unpack
from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError


def made(count: int = 2, **metadata: str) -> Embedding:
    generator = torch.Generator().manual_seed(count)
    vectors = {"clip_l": torch.randn(count, 768, generator=generator)}
    vectors["clip_g"] = torch.randn(count, 1280, generator=generator)
    return Embedding("style/my-word", vectors, {"modelspec.author": "Ada"} | metadata)


def test_it_comes_back_bit_for_bit() -> None:
    before = made()
    after = unpack(pack(before))
    assert after.name == "style/my-word" and after.metadata["modelspec.author"] == "Ada"
    assert after.vectors.keys() == before.vectors.keys()
    assert all(torch.equal(after.vectors[key], rows) for key, rows in before.vectors.items())
    assert pack(after) == pack(before)


def test_line_breaks_do_not_matter() -> None:
    packed = pack(made())
    wrapped = "\n".join(packed[start : start + 76] for start in range(0, len(packed), 76))
    assert pack(unpack(f"  {wrapped}\n")) == packed


def test_a_few_kilobytes_for_one_vector_of_sd15() -> None:
    one = Embedding("w", {"clip_l": torch.ones(1, 768)})
    assert len(pack(one)) < 5000


def test_pictures_in_the_metadata_stay_behind() -> None:
    big = made(ssmd_cover_images="x" * 50_000)
    assert "ssmd_cover_images" not in unpack(pack(big)).metadata


def test_what_is_too_large_is_refused_both_ways() -> None:
    with pytest.raises(EmbeddingError, match="a workflow carries at most 192"):
        pack(made(30))
    with pytest.raises(EmbeddingError, match="at most 192"):
        unpack("A" * (MAX_BYTES * 2))


def packed_file(tensors: dict, metadata: dict | None = None) -> str:
    content = safetensors.torch.save(tensors, metadata or {"modelspec.title": "w"})
    return base64.b64encode(content).decode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("not base64!", "not a whole embedding"),
        ("AAAA", "not a whole embedding"),
        (base64.b64encode(b"\x80\x04\x95" + b"x" * 50).decode(), "not a whole embedding"),
        (base64.b64encode(b"\xff" * 64).decode(), "not a whole embedding"),
        (packed_file({"clip_l": torch.ones(1, 768)})[:-40], "not a whole embedding"),
        (packed_file({"clip_l": torch.full((1, 768), float("nan"))}), "NaN"),
        (packed_file({"clip_l": torch.ones(1, 768).int()}), "not floating-point"),
        (packed_file({"clip_l": torch.ones(2, 2, 768)}), "shape"),
        (packed_file({"../clip": torch.ones(1, 768)}), "not an encoder key"),
        (packed_file({"clip_l": torch.ones(1, 768)}, {"modelspec.title": "../x"}), "'../x'"),
        (packed_file({"clip_l": torch.ones(1, 768)}, {"x": "y"}), "is empty"),
    ],
)
def test_what_is_no_embedding_gets_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(EmbeddingError) as raised:
        unpack(text)
    assert problem in str(raised.value) and "\n" not in str(raised.value)


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 6000), flipped=st.integers(1, 255), cut=st.booleans())
def test_damage_is_our_error_or_other_numbers(position: int, flipped: int, cut: bool) -> None:
    content = bytearray(base64.b64decode(pack(Embedding("w", {"clip_l": torch.ones(1, 768)}))))
    position %= len(content)
    content[position] ^= flipped
    damaged = bytes(content[:position]) if cut else bytes(content)
    try:
        found = unpack(base64.b64encode(damaged).decode())
    except EmbeddingError:
        return
    assert all(bool(torch.isfinite(rows).all()) for rows in found.vectors.values())
