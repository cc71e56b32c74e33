"""Every text encoder that ComfyUI loads: core's bits, its own words, and a sentence where none fit.

`listed_encoders` says what they are made of. ComfyUI 0.33 has no vocabulary for Hunyuan Video's
LLaMA in its checkout; those two are passed over where it is absent.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from textual_inversion.embeddings_io.embedding import Embedding, EmbeddingError
from textual_inversion.embeddings_io.library import Library
from textual_inversion.tests.host.listed_encoders import (
    LISTED,
    NOT_COVERED,
    Modules,
    listed_clip,
    listed_names,
    loaded_by,
)
from textual_inversion.tests.host.test_prompt_encoding import assert_equal
from textual_inversion.tests.host.tiny_clips import LLM, built, parts_of, width

PLAIN = ["", "a photo of a cat", 'a (cat:1.2), \\(brackets\\) and "a sign"\nin two lines']
MARKS = ("<|object_ref_start|>", "<|reserved_special_token_0|>", "<|fim_prefix|>")
"""Tokens of vocabularies of language models that no prompt has."""

WITHOUT_VECTORS = {"HiDream O1", "Lens"}
"""Which work on token numbers alone."""


@pytest.fixture(scope="module", params=LISTED)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def clip(name: str, comfyui_path: Path) -> Iterator[object]:
    llama = comfyui_path / "comfy/text_encoders/llama_tokenizer/tokenizer.json"
    if "llama" in LISTED[name].sizes and not llama.is_file():
        pytest.skip("this ComfyUI's folder lacks LLaMA's vocabulary")
    found = listed_clip(name, [])
    if found is None:
        pytest.skip("this ComfyUI has no such encoder")
    with ExitStack() as stack:
        if name == "ACE-Step 1.5":  # which would compose two minutes of music for every prompt
            stack.enter_context(
                patch("comfy.text_encoders.ace15.generate_audio_codes", lambda *_, **__: [])
            )
        yield found
    gc.collect()


@pytest.fixture(scope="module")
def word(name: str, clip) -> Embedding:
    """Vectors for every part that has a token table, and for the others those that core expects."""
    generator = torch.Generator().manual_seed(4)
    return Embedding(
        "word",
        {
            part.embedding_key: torch.randn(
                3, width(clip, part) or part.embedding_size, generator=generator
            )
            for part in parts_of(clip)
        },
    )


def ours(clip, text: str, *embeddings: Embedding) -> list:
    return encoded(clip, text, *embeddings).conditioning


def encoded(clip, text: str, *embeddings: Embedding):
    from textual_inversion.host.prompt_encoding import encode_prompt, memory_of

    return encode_prompt(clip, text, Library([]), memory_of(clip, embeddings))


def core(clip, text: str) -> list:
    """What CLIPTextEncode does."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def meant(clip, before: str, word: Embedding, after: str) -> list:
    """The conditioning of core's tokens of both texts, with the embedding's vectors between."""
    tokens = _read_by_core(clip, f"{before} embedding:word {after}", word)
    space = "" if _splits_at_the_space(parts_of(clip)[0]) else " "
    for key in tokens if isinstance(tokens, dict) else ():
        part = _part(clip, key)
        marks = _marks(part) if part and part.embedding_directory is None else {}
        for mark in list(marks)[:1]:
            (row,) = clip.tokenize(f"{before}{space}{mark}{after}")[key]
            tokens[key] = [_marked(row, part, marks[mark], word.vectors[part.embedding_key])]
    return clip.encode_from_tokens_scheduled(tokens)


def _marks(part) -> dict[str, int]:
    return {one: number for number, one in part.inv_vocab.items() if one in MARKS}


def _marked(row: list, part, mark: int, rows: torch.Tensor) -> list:
    """Vectors in place of a mark; padding gives way to them."""
    place = [token for token, *_ in row].index(mark)
    vectors = [({"type": "embedding", "data": one}, *row[place][1:]) for one in rows]
    spliced = [*row[:place], *vectors, *row[place + 1 :]]
    is_full = part.min_length > 1 or part.max_length < 1000
    for _ in vectors[1:] if is_full else ():
        pads = [i for i, (token, *_) in enumerate(spliced) if token == part.pad_token]
        del spliced[pads[-1]]
    return spliced


def _read_by_core(clip, text: str, word: Embedding):
    """Core's own reading of a file, its vectors in the table that every encoder takes them in."""
    rows = {key: one for key, one in word.vectors.items() if _takes(clip, key)}
    with ExitStack() as stack:
        stack.enter_context(
            patch(
                "comfy.sd1_clip.load_embed",
                lambda _name, _folder, size, key: rows.get(key, torch.empty(0, size)),
            )
        )
        for part in parts_of(clip):
            stack.enter_context(patch.object(part, "embedding_directory", ["there"]))
            wrapped = _in_tables(part.tokenize_with_weights)
            if part is not clip.tokenizer:
                stack.enter_context(patch.object(part, "tokenize_with_weights", wrapped))
        return clip.tokenize(text)


def _in_tables(tokenize: Callable[..., list]) -> Callable[..., list]:
    def wrapped(*args, **kwargs) -> list:
        return [
            [
                ({"type": "embedding", "data": token} if torch.is_tensor(token) else token, *rest)
                for token, *rest in row
            ]
            for row in tokenize(*args, **kwargs)
        ]

    return wrapped


def _takes(clip, key: str) -> bool:
    return any(part.embedding_key == key and width(clip, part) for part in parts_of(clip))


def _splits_at_the_space(part) -> bool:
    """True where core takes the space before 'embedding:' away, as it did before 0.28."""
    with patch.object(part, "embedding_directory", []):
        return len(part._try_get_embedding("-")) == 2


def _part(clip, key: str):
    attributes = vars(clip.tokenizer)
    return next((attributes[one] for one in (key, f"clip_{key}") if one in attributes), None)


def test_every_encoder_that_comfyui_loads_is_listed(comfyui_path: Path) -> None:
    loaded = loaded_by(comfyui_path)
    assert len(loaded) > 20 and "SD1Tokenizer" in loaded
    assert loaded - listed_names() - NOT_COVERED.keys() == set()


@pytest.mark.parametrize("text", PLAIN)
def test_text_is_encoded_as_core_does(clip, name: str, word, text: str) -> None:
    from textual_inversion.host.clip_with import clip_with

    embeddings = () if name in WITHOUT_VECTORS else (word,)
    assert_equal(ours(clip, text, *embeddings), core(clip, text))
    if embeddings:
        assert clip_with(clip, embeddings).tokenize(text) == clip.tokenize(text)
    if text:
        assert not torch.equal(core(clip, text)[0][0], core(clip, "another")[0][0])


@pytest.mark.parametrize("between", ["", " "])
def test_a_word_is_encoded_as_its_vectors(clip, name: str, word, between: str) -> None:
    from textual_inversion.host.clip_with import clip_with

    if name in WITHOUT_VECTORS:
        pytest.skip("see the next test")
    text = f"photo,{between}embedding:word and a cat"
    found = ours(clip, text, word)
    assert_equal(found, meant(clip, "photo,", word, "and a cat"))
    assert_equal(core(clip_with(clip, [word]), text), found)


def test_a_words_weight_is_that_of_any_word(clip, name: str, word) -> None:
    """Where brackets are weights, its vectors carry them; elsewhere nothing is left of them."""
    from textual_inversion.host.clip_with import clip_with

    if name in WITHOUT_VECTORS:
        pytest.skip("this encoder takes no vectors")
    knowing = clip_with(clip, [word])
    written = ("x (embedding:word:1.5) y", "x embedding:word:1.5 y")
    for text in written:
        weighted = _weights(knowing.tokenize(text), of_vectors=True)
        plain = _weights(clip.tokenize("x (cat:1.5) y"), of_vectors=False)
        assert weighted.keys() and all(
            found == ({1.5} if 1.5 in plain[key] else {1.0}) for key, found in weighted.items()
        )
    assert_equal(*(ours(clip, text, word) for text in written))
    if all(1.5 not in found for found in plain.values()):
        assert_equal(ours(clip, written[0], word), ours(clip, "x embedding:word y", word))


def _weights(tokens, of_vectors: bool) -> dict[str, set[float]]:
    """By key of the rows, the weights of the vectors or of everything else."""
    found: dict[str, set[float]] = {}
    for key, rows in tokens.items() if isinstance(tokens, dict) else [("", tokens)]:
        for row in rows if isinstance(rows, list) else ():
            for token, weight, *_ in row:
                if isinstance(token, torch.Tensor | dict) == of_vectors:
                    found.setdefault(key, set()).add(weight)
    return found


def test_what_an_encoder_cannot_use_is_refused(clip, name: str, word) -> None:
    """In one sentence, that names the encoders and what to do."""
    from textual_inversion.host.clip_with import clip_with

    if name in WITHOUT_VECTORS:
        tried = [word]
        told = ["in words instead", type(clip.cond_stage_model).__name__]
    else:
        wide = {key: torch.ones(2, rows.shape[1] + 1) for key, rows in word.vectors.items()}
        tried = [Embedding("word", one) for one in (wide, {"unheard_of": torch.ones(2, 7)})]
        fitting = [part.embedding_key for part in parts_of(clip) if width(clip, part)]
        told = ["cannot be used here", "made for", *fitting]
    for wrong in tried:
        for encode in (
            lambda wrong=wrong: ours(clip, "x embedding:word y", wrong),
            lambda wrong=wrong: ours(clip, "x {2*embedding:word} y", wrong),
            lambda wrong=wrong: clip_with(clip, [wrong]),
        ):
            with pytest.raises(EmbeddingError) as raised:
                encode()
            assert all(one in str(raised.value) for one in told)
            assert "\n" not in str(raised.value)


def test_words_are_looked_up_and_told_where_they_are_cut_off(clip, name: str, word) -> None:
    if name in WITHOUT_VECTORS:
        pytest.skip("this encoder takes no vectors")
    if name == "HiDream":  # whose T5 reads the first window alone
        report = encoded(clip, "cat " * 150 + "embedding:word", word).report.splitlines()
        told = "embedding:word does not reach t5xxl, whose tokenizer leaves it out."
        assert f"Warning: {told}" in report
        assert "t5xxl: 127 of 127 tokens used, 0 left." in report
    half = ours(clip, 'a {0.5*embedding:word + 0.25*"cat"} b', word)
    assert not torch.equal(half[0][0], ours(clip, "a embedding:word b", word)[0][0])


@pytest.fixture(scope="module")
def unheard_of(comfyui_path: Path) -> Callable[..., object]:
    """CLIPs with a text encoder of no known name and a tokenizer that goes its own way."""
    from comfy.sd1_clip import SD1ClipModel, SD1Tokenizer
    from comfy.text_encoders.qwen_image import Qwen25_7BVLIModel, Qwen25_7BVLITokenizer

    def made(longest: int, reads_files: bool) -> object:
        class Part(Qwen25_7BVLITokenizer):
            def __init__(self, embedding_directory=None, **kwargs) -> None:
                super().__init__(**kwargs)
                self.embedding_key = "novel_7b"
                self.embedding_directory = embedding_directory if reads_files else None

            def tokenize_with_weights(self, text: str, *_, **__) -> list:
                ids = self.tokenizer(f"<|im_start|>{text}<|im_end|>\n")["input_ids"]
                return [[(token, 1.0) for token in ids[:longest]]]

        class Tokenizer(SD1Tokenizer):
            def __init__(self, **kwargs) -> None:
                super().__init__(**kwargs, name="novel", tokenizer=Part)

        class Model(SD1ClipModel):
            def __init__(self, **kwargs) -> None:
                super().__init__(**kwargs, name="novel", clip_model=Qwen25_7BVLIModel)

        return built(Model, Tokenizer, [Path("there")], {"novel_model_config": LLM})

    return made


def test_an_encoder_that_nobody_has_heard_of(unheard_of) -> None:
    clip = unheard_of(longest=99, reads_files=False)
    word = Embedding("word", {"novel_7b": torch.randn(3, 32)})
    found = ours(clip, "photo,embedding:word\nand a cat", word)
    (row,) = clip.tokenize(f"photo, {MARKS[0]}\nand a cat")["novel"]
    part = clip.tokenizer.novel
    tokens = [_marked(row, part, _marks(part)[MARKS[0]], word.vectors["novel_7b"])]
    assert_equal(found, clip.encode_from_tokens_scheduled({"novel": tokens}))
    assert_equal(ours(clip, "photo, a cat"), core(clip, "photo, a cat"))
    other = ours(clip, "(embedding:word:1.4) x", Embedding("word", {"novel": torch.ones(1, 32)}))
    assert_equal(
        other, ours(clip, "embedding:word x", Embedding("word", {"novel_7b": torch.ones(1, 32)}))
    )


@pytest.mark.parametrize(("longest", "reads_files"), [(4, False), (99, True)])
def test_what_a_tokenizer_leaves_out_is_an_error(unheard_of, longest, reads_files) -> None:
    """It cuts the text off in one case, and looks up nothing though it is told of folders."""
    clip = unheard_of(longest, reads_files)
    word = Embedding("word", {"novel_7b": torch.randn(3, 32)})
    with pytest.raises(EmbeddingError, match="embedding:word does not reach novel_7b") as raised:
        ours(clip, "a photo of a cat and embedding:word", word)
    assert "Tokenizer cuts the prompt off" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_tokenizer_without_a_place_for_vectors_says_so(comfyui_path: Path) -> None:
    from textual_inversion.host.clip_with import clip_with

    try:
        tokenizer = Modules().minimax_music.MiniMaxMusic3Tokenizer
    except ImportError:
        pytest.skip("this ComfyUI has no such encoder")

    class Clip:
        pass

    clip = Clip()
    clip.tokenizer = object.__new__(tokenizer)
    with pytest.raises(EmbeddingError, match=r"MiniMaxMusic3Tokenizer.*in words instead"):
        clip_with(clip, [Embedding("word", {"clip_l": torch.ones(1, 768)})])
