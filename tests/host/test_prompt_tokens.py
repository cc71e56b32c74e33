"""What Embedding Prompt and Load Embedding emit, token row by token row, on ComfyUI's tokenizers.

A case is a text and what it means: pieces of plain text and names of embeddings, with weights. The
meaning is tokenised piece by piece with the tokenizer's own vocabulary, so the oracle knows nothing
of references, brackets or spaces.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.library import Library
from textual_inversion.embeddings_io.prompt import expand_prompt
from textual_inversion.embeddings_io.saving import save

NAMES = {"a": 1, "b": 3, "style/c": 2, "ver1.2": 1, "e-x_9": 8}
WIDTHS = {"clip_l": 768, "clip_g": 1280}

CASES = [
    ("embedding:a", [("@a", 1.0)]),
    ("photo of embedding:a cat", [("photo of", 1.0), ("@a", 1.0), ("cat", 1.0)]),
    ("photo,embedding:a", [("photo,", 1.0), ("@a", 1.0)]),
    ("embedding:a,embedding:b", [("@a", 1.0), (",", 1.0), ("@b", 1.0)]),
    ("embedding:a,cat", [("@a", 1.0), (",cat", 1.0)]),
    ("embedding:a, cat", [("@a", 1.0), (", cat", 1.0)]),
    ("embedding:a.", [("@a", 1.0), (".", 1.0)]),
    ("[embedding:a]", [("[", 1.0), ("@a", 1.0), ("]", 1.0)]),
    ("{embedding:a|embedding:b}", [("{", 1.0), ("@a", 1.0), ("|", 1.0), ("@b", 1.0), ("}", 1.0)]),
    ('"embedding:a"', [('"', 1.0), ("@a", 1.0), ('"', 1.0)]),
    ("embedding:a's hat", [("@a", 1.0), ("'s hat", 1.0)]),
    ("(embedding:a:1.2)", [("@a", 1.2)]),
    ("((embedding:a))", [("@a", 1.1 * 1.1)]),
    ("(photo,embedding:a:1.3)", [("photo,", 1.3), ("@a", 1.3)]),
    ("embedding:a:1.2", [("@a", 1.2)]),
    ("embedding:a:1.2, cat", [("@a", 1.2), (", cat", 1.0)]),
    ("(cat embedding:a:0.5, dog:1.3)", [("cat", 1.3), ("@a", 0.5), (", dog", 1.3)]),
    ("\\(embedding:a\\)", [("(", 1.0), ("@a", 1.0), (")", 1.0)]),
    ("(cat)embedding:a(dog)", [("cat", 1.1), ("@a", 1.0), ("dog", 1.1)]),
    ("photo\tembedding:a\tcat", [("photo", 1.0), ("@a", 1.0), ("cat", 1.0)]),
    ("photo\nembedding:a\ncat", [("photo", 1.0), ("@a", 1.0), ("cat", 1.0)]),
    ("photo\r\nembedding:a\r\ncat", [("photo", 1.0), ("@a", 1.0), ("cat", 1.0)]),
    ("photo\u00a0embedding:a\u3000cat", [("photo", 1.0), ("@a", 1.0), ("cat", 1.0)]),
    ("embedding: a cat", [("@a", 1.0), ("cat", 1.0)]),
    ("embedding:embedding:a", [("@a", 1.0)]),
    ("embedding:a.safetensors,cat", [("@a", 1.0), (",cat", 1.0)]),
    ("embedding:c", [("@style/c", 1.0)]),
    ("<x>embedding:style/c<y>", [("<x>", 1.0), ("@style/c", 1.0), ("<y>", 1.0)]),
    ("embedding:ver1.2.", [("@ver1.2", 1.0), (".", 1.0)]),
    ("cat embedding:e-x_9!", [("cat", 1.0), ("@e-x_9", 1.0), ("!", 1.0)]),
]
EMPTY = ["embedding:", "x embedding:", "(embedding:)", "embedding: ", "a embedding:, b"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("embeddings")
    generator = torch.Generator().manual_seed(5)
    for name, count in NAMES.items():
        vectors = {
            key: torch.randn(count, width, generator=generator) for key, width in WIDTHS.items()
        }
        save(Embedding(name, vectors), folder)
    return Library([folder])


@pytest.fixture(scope="module")
def sd1(comfyui_path: Path, library: Library):
    from comfy.sd1_clip import SD1Tokenizer

    return SD1Tokenizer(embedding_directory=[str(folder) for folder in library.folders])


@pytest.fixture(scope="module")
def sdxl(comfyui_path: Path, library: Library):
    from comfy.sdxl_clip import SDXLTokenizer

    return SDXLTokenizer(embedding_directory=[str(folder) for folder in library.folders])


@pytest.mark.parametrize(("text", "meaning"), CASES)
def test_expanded_text_means_what_was_written(text, meaning, sd1, sdxl, library) -> None:
    expanded = expand_prompt(text, library).text
    for part in (sd1.clip_l, sdxl.clip_l, sdxl.clip_g):
        assert_means(part, part.tokenize_with_weights(expanded), meaning, library)


@pytest.mark.parametrize(
    "text", ["photo,embedding:a", "[embedding:a]", '"embedding:a"', "embedding:a,cat"]
)
def test_core_alone_reads_these_otherwise(text: str, sd1, library) -> None:
    """The control: without expansion the same comparison fails, so it can tell."""
    meaning = dict(CASES).get(text)
    with pytest.raises(AssertionError):
        assert_means(sd1.clip_l, sd1.clip_l.tokenize_with_weights(text), meaning, library)


@pytest.mark.parametrize("text", EMPTY)
def test_a_reference_without_a_name_does_not_fail(text: str, sd1, library) -> None:
    expanded = expand_prompt(text, library, missing="warning").text
    assert "embedding:" not in expanded
    sd1.tokenize_with_weights(expanded)


def test_core_fails_on_a_reference_without_a_name(sd1) -> None:
    with pytest.raises(IndexError):
        sd1.tokenize_with_weights("embedding:")


def test_a_missing_name_with_a_warning_takes_nothing_with_it(sd1, library) -> None:
    expanded = expand_prompt("photo,embedding:nope,cat", library, missing="warning").text
    rows = sd1.clip_l.tokenize_with_weights(expanded)
    assert_means(sd1.clip_l, rows, [("photo,", 1.0), (",cat", 1.0)], library)


def test_a_name_that_is_a_number_is_no_weight(sd1, library, tmp_path: Path) -> None:
    from comfy.sd1_clip import SD1Tokenizer

    source = library.resolve("a")
    (tmp_path / "2.5.safetensors").write_bytes(source.read_bytes())
    expanded = expand_prompt("(cat, embedding:2.5)", Library([tmp_path])).text
    tokenizer = SD1Tokenizer(embedding_directory=[str(tmp_path)]).clip_l
    rows = tokenizer.tokenize_with_weights(expanded)
    assert_means(tokenizer, rows, [("cat,", 1.1), ("@a", 1.1)], library)


LITERALS = st.sampled_from(["cat", "a dog", "photo,", "red [", "sky |", '"', "2", "x\t"])
AFTER = st.sampled_from([",", ", blue", ".", "'s", "]", "!", " of", "\n", ";x", '"', "\\)"])
WEIGHTS = st.sampled_from([0.5, 1.25, 2.0])


@st.composite
def prompts(draw) -> tuple[str, list[tuple[str, float]]]:
    """A text as people write it, and its meaning."""
    text, meaning = "", []
    for _ in range(draw(st.integers(1, 5))):
        words = draw(LITERALS)
        name = draw(st.sampled_from(sorted(NAMES)))
        after = draw(AFTER)
        if draw(st.booleans()):
            weight = draw(WEIGHTS)
            text += f"({words}"
        else:
            weight = 1.0
            text += words
        before = "" if words[-1] in ',[|"\t' else " "
        text += f"{before}embedding:{name}{after}"
        meaning += [(words, weight), (f"@{name}", weight), (after, weight)]
        text += f":{weight})" if weight != 1.0 else " "
    return text, meaning


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(case=prompts())
def test_any_text_means_what_was_written(case, sd1, sdxl, library) -> None:
    text, meaning = case
    expanded = expand_prompt(text, library).text
    assert expand_prompt(expanded, library).text == expanded
    for part in (sd1.clip_l, sdxl.clip_g):
        assert_means(part, part.tokenize_with_weights(expanded), meaning, library)


class Clip:
    """As much of ComfyUI's CLIP as a tokenizer needs around it."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer

    def clone(self) -> Clip:
        return copy.copy(self)


def test_names_resolve_from_memory_before_the_disk(sd1, library) -> None:
    from textual_inversion.host.clip_with import clip_with

    new = Embedding("a", {"clip_l": torch.full((2, 768), 0.25)})
    only = Embedding("unsaved", {"clip_l": torch.full((1, 768), 0.5)})
    before = sd1.clip_l.tokenize_with_weights("embedding:a embedding:b")
    clip = clip_with(clip_with(Clip(sd1), [new]), [only])
    rows = clip.tokenizer.clip_l.tokenize_with_weights("embedding:a,embedding:unsaved embedding:b")
    known = {"a": new, "unsaved": only, "b": library.read("b")}
    meant = [("@a", 1.0), (",", 1.0), ("@unsaved", 1.0), ("@b", 1.0)]
    assert_means(clip.tokenizer.clip_l, rows, meant, known)
    rows = clip.tokenizer.clip_l.tokenize_with_weights("(embedding:unsaved:1.5), embedding:a[x]")
    assert_means(
        clip.tokenizer.clip_l,
        rows,
        [("@unsaved", 1.5), (",", 1.0), ("@a", 1.0), ("[x]", 1.0)],
        known,
    )
    after = sd1.clip_l.tokenize_with_weights("embedding:a embedding:b")
    assert flat(before) == flat(after), "the shared tokenizer was changed"


def test_an_sd15_embedding_is_silent_in_the_other_encoder(sdxl, library, caplog) -> None:
    """One sentence of ours, and none of ComfyUI's for each vector."""
    from textual_inversion.host.clip_with import clip_with

    half = Embedding("half", {"clip_l": torch.full((2, 768), 0.5)})
    clip = clip_with(Clip(sdxl), [half])
    rows = clip.tokenizer.tokenize_with_weights("cat embedding:half dog")
    known = {"half": half}
    assert_means(sdxl.clip_l, rows["l"], [("cat", 1.0), ("@half", 1.0), ("dog", 1.0)], known)
    assert_means(sdxl.clip_g, rows["g"], [("cat", 1.0), ("dog", 1.0)], known)
    assert caplog.messages == [
        "'half' is made for Stable Diffusion 1.x (clip_l 768); this CLIP has clip_l 768 and clip_g "
        "1280: only clip_l will be used."
    ]


def test_an_sdxl_embedding_is_used_in_part(sd1, caplog) -> None:
    from textual_inversion.host.clip_with import clip_with

    both = Embedding("xl", {"clip_l": torch.ones(3, 768), "clip_g": torch.ones(3, 1280)})
    clip = clip_with(Clip(sd1), [both])
    rows = clip.tokenizer.tokenize_with_weights("cat embedding:xl")
    assert_means(sd1.clip_l, rows["l"], [("cat", 1.0), ("@xl", 1.0)], {"xl": both})
    assert len(caplog.messages) == 1 and caplog.messages[0].endswith("only clip_l will be used.")


def test_an_embedding_of_another_family_is_refused(sd1) -> None:
    from textual_inversion.host.clip_with import clip_with

    other = Embedding("g", {"clip_g": torch.ones(1, 1280)})
    said = r"clip_g 1280\); this CLIP has clip_l 768: it cannot be used here; connect"
    with pytest.raises(ValueError, match=said):
        clip_with(Clip(sd1), [other])


def test_a_tokenizer_without_a_folder_resolves_from_memory(comfyui_path: Path) -> None:
    from comfy.sd1_clip import SD1Tokenizer

    from textual_inversion.host.clip_with import clip_with

    new = Embedding("new", {"clip_l": torch.full((1, 768), 0.5)})
    tokenizer = SD1Tokenizer()
    clip = clip_with(Clip(tokenizer), [new])
    rows = clip.tokenizer.clip_l.tokenize_with_weights("cat embedding:new embedding: ")
    assert_means(tokenizer.clip_l, rows, [("cat", 1.0), ("@new", 1.0)], {"new": new})
    assert tokenizer.clip_l.embedding_directory is None


def assert_means(part, rows, meaning, library) -> None:
    """The rows hold exactly the ids and vectors of the meaning, in order, each at its weight."""
    wanted = []
    for piece, weight in meaning:
        if piece.startswith("@"):
            name = piece[1:]
            read = library.read(name) if isinstance(library, Library) else library[name]
            wanted += [(vector, weight) for vector in read.vectors[part.embedding_key]]
        else:
            ids = part.tokenizer(piece.replace("\\", ""))["input_ids"][1:-1]
            wanted += [(token, weight) for token in ids]
    got = content(part, rows)
    assert len(got) == len(wanted), f"{len(got)} tokens, {len(wanted)} meant"
    for (token, weight), (meant, meant_weight) in zip(got, wanted, strict=True):
        assert weight == pytest.approx(meant_weight)
        assert torch.is_tensor(token) == torch.is_tensor(meant)
        assert torch.equal(token, meant) if torch.is_tensor(meant) else token == meant


def content(part, rows):
    """The tokens of all rows without start, end and padding."""
    kept = []
    for row in rows:
        ids = [token for token, *_ in row]
        ends = [i for i, t in enumerate(ids) if not torch.is_tensor(t) and t == part.end_token]
        kept += row[1 : ends[0]]
    return kept


def flat(rows):
    return [
        (token.tolist() if torch.is_tensor(token) else token, weight)
        for row in rows
        for token, weight in row
    ]
