"""Encode Embedding Prompt on the text encoders of every family, beside ComfyUI's own encoding."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.safetensors_bytes import to_bytes
from textual_inversion.tests.host.tiny_clips import FAMILIES, WIDTHS, parts_of, tiny_clip

COUNTS = {"a": 1, "b": 3, "style/c": 2, "long": 12, "twenty": 20}
UNDERSTOOD = [
    "",
    "a photo of a cat",
    "embedding:a",
    "photo of embedding:a cat",
    "photo, embedding:b , (blue sky:1.3)",
    "embedding:style/c embedding:c",
    "embedding:a.safetensors and embedding: b",
    "a (cat:1.2) in the ((rain)), \\(brackets\\)",
    "line one\nembedding:a\nline three",
]
WEIGHTED = ["(embedding:a:1.2)", "((embedding:b)), (photo of embedding:c x:0.7)"]
WITHOUT_WEIGHTS = {"ZImage", "HunyuanVideo"}


def vectors(family: str, seed: int, count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    widths = WIDTHS | ({"t5xxl": 4096} if family == "SD3" else {})
    return {key: torch.randn(count, width, generator=generator) for key, width in widths.items()}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, family: str) -> Path:
    folder = tmp_path_factory.mktemp(family)
    for seed, (name, count) in enumerate(COUNTS.items()):
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(to_bytes(vectors(family, seed, count), {}))
    (folder / "my cat.safetensors").write_bytes((folder / "b.safetensors").read_bytes())
    return folder


@pytest.fixture(scope="module")
def clip(comfyui_path: Path, family: str, folder: Path) -> Iterator[object]:
    yield tiny_clip(family, [folder])
    gc.collect()


def core(clip, text: str) -> list:
    """What CLIPTextEncode does."""
    try:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))
    except RuntimeError as error:
        assert "Boolean value of Tensor" in str(error) and hasattr(clip.tokenizer, "llama")
        pytest.skip("ComfyUI itself fails on embeddings with this encoder")


def vectors_in(tokens: list) -> list[torch.Tensor]:
    """The vectors among tokens, bare or in ComfyUI's table."""
    bare = [token["data"] if isinstance(token, dict) else token for token in tokens]
    return [token for token in bare if torch.is_tensor(token)]


def ours(clip, text: str, folder: Path, *embeddings: Embedding, **options):
    from textual_inversion.host.prompt_encoding import encode_prompt, memory_of

    return encode_prompt(clip, text, Library([folder]), memory_of(clip, embeddings), **options)


def assert_equal(one: list, other: list) -> None:
    assert len(one) == len(other)
    for (cond, more), (cond2, more2) in zip(one, other, strict=True):
        assert same_bits(cond, cond2)
        assert more.keys() == more2.keys()
        for key, value in more.items():
            assert same(value, more2[key]), key


def same(one: object, other: object) -> bool:
    """True for equal values, lists and tables of them, and the same bits in tensors."""
    if torch.is_tensor(one):
        return same_bits(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """True for NaN beside NaN too, which core makes of weights in some encoders."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    bits, other_bits = (x.reshape(-1).contiguous().view(torch.uint8) for x in (one, other))
    return torch.equal(bits, other_bits)


def reads_files(clip) -> bool:
    return all(part.embedding_directory is not None for part in parts_of(clip))


@pytest.mark.parametrize("text", UNDERSTOOD + WEIGHTED)
def test_what_core_understands_is_the_same_to_the_bit(clip, family, folder, text: str) -> None:
    if "embedding:" in text and not reads_files(clip):
        pytest.skip("this ComfyUI reads no embeddings for this encoder")
    if text in WEIGHTED and family in WITHOUT_WEIGHTS:
        pytest.skip("this encoder has no weights")
    if "embedding:" in text and type(clip.cond_stage_model).__name__.startswith("HunyuanVideo"):
        pytest.skip(
            "core fails on a bare vector here; test_prompt_encoders compares with its encoder"
        )
    assert_equal(ours(clip, text, folder).conditioning, core(clip, text))


TRICKY = {
    "photo,embedding:a,cat": "photo, embedding:a ,cat",
    '"embedding:b"': '" embedding:b "',
    "[embedding:a]": "[ embedding:a ]",
    'x embedding:"my cat" y': "x embedding:b y",
    "<a> x": "embedding:a x",
    "embedding:b[0:3]": "embedding:b",
    "{1*embedding:a + 0*embedding:a}": "embedding:a",
    "{embedding:b * 1.0}, embedding:a": "embedding:b , embedding:a",
}


@pytest.mark.parametrize("text", TRICKY)
def test_what_core_gets_wrong_is_what_was_meant(clip, folder, text: str) -> None:
    if not reads_files(clip):
        pytest.skip("nothing of core's to compare with; see the next test")
    if type(clip.cond_stage_model).__name__.startswith("HunyuanVideo"):
        pytest.skip(
            "core fails on a bare vector here; test_prompt_encoders compares with its encoder"
        )
    assert_equal(ours(clip, text, folder).conditioning, core(clip, TRICKY[text]))
    assert not torch.equal(core(clip, text)[0][0][:, :8], core(clip, TRICKY[text])[0][0][:, :8])


def content_of(clip, text: str) -> dict[str, list]:
    """Every token of every row, by encoder key."""
    keys = {"l": "clip_l", "g": "clip_g", "h": "clip_h"}
    return {
        keys.get(name, name): [token for row in rows for token, *_ in row]
        for name, rows in clip.tokenize(text).items()
    }


def test_the_vectors_arrive_in_every_encoder(clip, family, folder) -> None:
    """Also where ComfyUI itself would put the letters 'embedding:b' into the prompt."""
    from textual_inversion.host.clip_with import clip_with

    word = Embedding("word", vectors(family, 9, 3))
    knowing = clip_with(clip, [word])
    for text in ("photo embedding:word cat", "photo,embedding:word,cat", "embedding:word"):
        tokens = content_of(knowing, text)
        for part in parts_of(clip):
            row = tokens[part.embedding_key]
            rows = vectors_in(row)
            assert torch.equal(torch.stack(rows), word.vectors[part.embedding_key])
            letters = part.tokenizer("embedding:word")["input_ids"]
            assert part.tokenizer("embedding")["input_ids"][part.tokens_start] not in [
                token for token in row if not torch.is_tensor(token)
            ], letters
    assert content_of(clip, "a cat") == content_of(knowing, "a cat")


def test_words_and_embeddings_are_calculated_with(clip, family, folder) -> None:
    text = '{0.5*embedding:a + 0.25*"tiger"}'
    from textual_inversion.host.prompt_encoding import encode_prompt, memory_of

    encoded = encode_prompt(clip, text, Library([folder]), memory_of(clip))
    rows = {}
    for part in parts_of(clip):
        encoder = getattr(clip.cond_stage_model, part.embedding_key)
        table = encoder.transformer.get_input_embeddings().weight.float()
        last = -1 if part.tokenizer_adds_end_token else None
        ids = part.tokenizer("tiger")["input_ids"][part.tokens_start : last]
        word = Library([folder]).read("a").vectors[part.embedding_key]
        rows[part.embedding_key] = 0.5 * word + 0.25 * table[ids]
    meant = Embedding("meant", rows)
    assert_equal(encoded.conditioning, ours(clip, "embedding:meant", folder, meant).conditioning)
    assert "= a formula of a.safetensors" in encoded.report


def test_weights_go_where_an_encoder_has_none(clip, family, folder) -> None:
    if family not in WITHOUT_WEIGHTS - {"HunyuanVideo"}:
        pytest.skip("this encoder has weights")
    word = Embedding("word", vectors(family, 9, 3))
    plain = ours(clip, "x embedding:word y", folder, word)
    for text in ("x (embedding:word:1.2) y", "x embedding:word:1.2 y", "x ((embedding:word)) y"):
        assert_equal(ours(clip, text, folder, word).conditioning, plain.conditioning)


def test_an_embedding_stays_in_one_window(clip, family, folder) -> None:
    from textual_inversion.host.clip_with import clip_with

    word = Embedding("word", vectors(family, 9, 20))
    knowing = clip_with(clip, [word])
    text = "cat " * 70 + "embedding:word and a dog"
    windowed = [part for part in parts_of(knowing) if part.max_length == 77]
    for part in windowed:
        rows = part.tokenize_with_weights(text)
        places = [[i for i, (token, _) in enumerate(row) if torch.is_tensor(token)] for row in rows]
        assert places == [[], list(range(1, 21))]
        assert [len(row) for row in rows] == [77, 77]
        cut = clip.tokenizer.__dict__[part.embedding_key]
        assert cut.tokenize_with_weights("cat " * 90) == part.tokenize_with_weights("cat " * 90)
    if windowed:
        report = ours(clip, text, folder, word).report
        key = windowed[0].embedding_key
        assert (
            f"{key}: 70 of 75 tokens used, 5 left in window 1; "
            "23 of 75 tokens used, 52 left in window 2."
        ) in report.splitlines()


def test_its_encoding_is_that_of_two_windows(clip, family, folder) -> None:
    """Core's own rows of the text before it and from it on, one behind the other."""
    windowed = [part for part in parts_of(clip) if part.max_length == 77]
    if not windowed or not reads_files(clip) or family == "HunyuanVideo":
        pytest.skip("no windows, or nothing of core's to compare with")
    text = "cat " * 70 + "(embedding:twenty:1.3) and a dog"
    tokens = clip.tokenize(text)
    for part in windowed:
        key = part.embedding_key.removeprefix("clip_")
        before, behind = "cat " * 70, "(embedding:twenty:1.3) and a dog"
        rows = [part.tokenize_with_weights(one)[0] for one in (before, behind)]
        cut = [len(vectors_in([token for token, _ in row])) for row in tokens[key]]
        assert cut == [5, 15], "core would not have cut it"
        tokens[key] = rows
    assert_equal(ours(clip, text, folder).conditioning, clip.encode_from_tokens_scheduled(tokens))


@pytest.mark.parametrize(("count", "held"), [(75, [0, 75]), (76, [74, 2])])
def test_as_many_vectors_as_a_window_holds(comfyui_path: Path, count: int, held: list) -> None:
    from textual_inversion.host.clip_with import clip_with

    word = Embedding("word", {"clip_l": torch.ones(count, 32)})
    rows = clip_with(tiny_clip("SD1", []), [word]).tokenizer.clip_l.tokenize_with_weights(
        "cat embedding:word"
    )
    assert [sum(torch.is_tensor(token) for token, _ in row) for row in rows] == held


def test_the_report_counts_the_tokens_of_every_encoder(clip, family, folder) -> None:
    word = Embedding("word", vectors(family, 9, 3))
    report = ours(clip, "a photo, embedding:word", folder, word).report.splitlines()
    counted = [line for line in report if "used" in line and not line.startswith("Warning")]
    longer = ours(clip, "cat " * 160 + "embedding:word", folder, word).report.splitlines()
    for line, part in zip(counted, parts_of(clip), strict=True):
        key = part.embedding_key
        if not part.tokenizer_adds_end_token:
            around = content_of(clip, "a photo, ")[key]
            number = int(line.removeprefix(f"{key}: ").split()[0])
            assert abs(number - len(around) - 3) <= 2, "white space may be cut otherwise"
            assert (
                line
                == f"{key}: {number} tokens used, with those that ComfyUI writes around "
                + ("the text; it has no windows.")
            )
            continue
        number = len(part.tokenizer("a photo,")["input_ids"]) - part.tokens_start - 1 + 3
        if part.max_length == 77:
            assert line == f"{key}: {number} of 75 tokens used, {75 - number} left."
            full = "75 of 75 tokens used, 0 left in window"
            told = f"{full} 1; {full} 2; 13 of 75 tokens used, 62 left in window 3."
            assert f"{key}: {told}" in longer
        else:
            assert line == f"{key}: {number} tokens used; it has no windows."


def test_core_cuts_that_embedding(comfyui_path: Path, tmp_path: Path) -> None:
    """The control: without our tokenizer the vectors lie in two windows."""
    path = tmp_path / "long.safetensors"
    path.write_bytes(to_bytes({"clip_l": torch.ones(12, 32)}, {}))
    part = tiny_clip("SD1", [tmp_path]).tokenizer.clip_l
    rows = part.tokenize_with_weights("cat " * 70 + "embedding:long and a dog")
    assert [sum(torch.is_tensor(token) for token, _ in row) for row in rows] == [5, 7]


def test_the_shared_tokenizer_is_untouched_and_clips_can_be_chained(clip, family, folder) -> None:
    from textual_inversion.host.clip_with import clip_with, known_by

    before = {name: copy.copy(part.__dict__) for name, part in enumerate(parts_of(clip))}
    one = clip_with(clip, [Embedding("one", vectors(family, 1, 1))])
    two = clip_with(one, [Embedding("two", vectors(family, 2, 2))])
    assert set(known_by(two)) == {"one", "two"} and set(known_by(one)) == {"one"}
    for rows in content_of(two, "embedding:one,embedding:two").values():
        assert len(vectors_in(rows)) == 3
    for rows in content_of(one, "embedding:one x").values():
        assert len(vectors_in(rows)) == 1
    for name, part in enumerate(parts_of(clip)):
        assert part.__dict__ == before[name]
    report = ours(two, "embedding:one,embedding:two", folder).report
    assert "embedding:one = known by this CLIP, 1 vector" in report


def test_a_newer_word_of_the_same_name_counts(clip, family, folder) -> None:
    from textual_inversion.host.clip_with import clip_with

    old, new = (Embedding("w", vectors(family, seed, 1)) for seed in (1, 2))
    knowing = clip_with(clip_with(clip, [old]), [new])
    tokens = content_of(knowing, "embedding:w")
    for part in parts_of(clip):
        (found,) = vectors_in(tokens[part.embedding_key])
        assert torch.equal(found, new.vectors[part.embedding_key][0])
    wired = ours(knowing, "embedding:w", folder, old)
    assert wired.report.startswith("embedding:w = connected")
    assert_equal(wired.conditioning, core(clip_with(clip, [old]), "embedding:w"))


def test_memory_wins_over_the_file(clip, family, folder) -> None:
    word = Embedding("a", vectors(family, 5, 2))
    encoded = ours(clip, "embedding:a", folder, word)
    assert (
        "Warning: 'a' is the one that is connected, not the file a.safetensors." in encoded.report
    )
    if reads_files(clip):
        assert not torch.equal(encoded.conditioning[0][0], core(clip, "embedding:a")[0][0])


def test_a_missing_name_and_a_wrong_family(clip, family, folder) -> None:
    with pytest.raises(EmbeddingError, match=r"'lnog' not found. Did you mean 'long'\?"):
        ours(clip, "x embedding:lnog", folder)
    assert_equal(
        ours(clip, "x, embedding:gone", folder, missing="drop").conditioning, core(clip, "x")
    )
    other = Embedding("other", {"gpt_oss": torch.ones(1, 2880)})
    with pytest.raises(EmbeddingError, match="was made for another model family") as raised:
        ours(clip, "x embedding:other", folder, other)
    assert "\n" not in str(raised.value)


def test_one_encoder_of_two_says_so(clip, family, folder) -> None:
    keys = [part.embedding_key for part in parts_of(clip)]
    if len(keys) < 2:
        pytest.skip("one encoder only")
    half = Embedding("half", {keys[0]: vectors(family, 4, 2)[keys[0]]})
    encoded = ours(clip, "cat embedding:half dog", folder, half)
    assert (
        f"embedding:half has no vectors for {', '.join(keys[1:])}; only {keys[0]}" in encoded.report
    )
    formula = ours(clip, "cat {2*embedding:half} dog", folder, half).report
    assert f"The formula has no vectors for {', '.join(keys[1:])}; only {keys[0]}" in formula


def test_an_sd15_file_on_sdxl(comfyui_path: Path, tmp_path: Path) -> None:
    from comfy.sdxl_clip import SDXLTokenizer

    from textual_inversion.host.clip_with import clip_with_words

    class Clip:
        tokenizer = SDXLTokenizer(embedding_directory=[str(tmp_path)])

        def clone(self):
            return copy.copy(self)

    rows = torch.full((2, 768), 0.5)
    knowing = clip_with_words(Clip(), {"half": {"clip_l": rows}})
    tokens = knowing.tokenizer.tokenize_with_weights("cat embedding:half")
    assert sum(torch.is_tensor(token) for token, _ in tokens["l"][0]) == 2
    assert sum(torch.is_tensor(token) for token, _ in tokens["g"][0]) == 0
    assert Clip.tokenizer.tokenize_with_weights("cat")["g"] == tokens["g"]


def test_cores_own_encode_nodes_see_the_words(comfyui_path: Path, tmp_path: Path) -> None:
    from textual_inversion.host.clip_with import clip_with

    nodes = {
        "SDXL": ("comfy_extras.nodes_clip_sdxl", "CLIPTextEncodeSDXL"),
        "Flux": ("comfy_extras.nodes_flux", "CLIPTextEncodeFlux"),
        "SD3": ("comfy_extras.nodes_sd3", "CLIPTextEncodeSD3"),
    }
    for family, (module, name) in nodes.items():
        path = tmp_path / family / "word.safetensors"
        path.parent.mkdir()
        word = Embedding("word", vectors(family, 3, 2))
        path.write_bytes(to_bytes(word.vectors, {}))
        node = getattr(__import__(module, fromlist=[name]), name)
        on_disk = tiny_clip(family, [path.parent])
        knowing = clip_with(tiny_clip(family, [tmp_path / "none"]), [word])
        for text in ("a embedding:word b", "embedding:word"):
            assert_equal(encoded_by(node, knowing, text), encoded_by(node, on_disk, text))
        assert_equal(
            encoded_by(node, knowing, "a,embedding:word,b"),
            encoded_by(node, on_disk, "a, embedding:word ,b"),
        )


def encoded_by(node, clip, text: str) -> list:
    """The conditioning of one of core's nodes, every text input being `text`."""
    schema = node.INPUT_TYPES()["required"]
    defaults = {"clip": clip, "empty_padding": "none"}
    inputs = {}
    for name, entry in schema.items():
        kind = entry[0]
        inputs[name] = defaults.get(name, text if kind == "STRING" else 1024)
    result = node.execute(**inputs) if hasattr(node, "execute") else node().encode(**inputs)
    return result[0] if isinstance(result, tuple) else result.args[0]
