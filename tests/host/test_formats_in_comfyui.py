"""ComfyUI's own loader, and diffusers', read what the pack writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from textual_inversion.embeddings_io import formats
from textual_inversion.embeddings_io.embedding import Embedding
from textual_inversion.embeddings_io.names import FILE_EXTENSIONS
from textual_inversion.tests.unit.embedding_files import LORA, WIDTHS, st, vectors
from textual_inversion.tests.unit.test_format_writers import PAIRS, SETS

READ_BY_COMFYUI = [(name, what) for name, what in PAIRS if name != "a1111_card"]


def loaded(folder: Path, name: str, key: str) -> torch.Tensor | None:
    """What ComfyUI's tokenizer gets for a name."""
    from comfy.sd1_clip import load_embed

    return load_embed(name, [str(folder)], WIDTHS[key], key)


@pytest.mark.parametrize(("format_name", "what"), READ_BY_COMFYUI)
def test_comfyui_reads_it_bit_for_bit(
    comfyui_path: Path, tmp_path: Path, format_name: str, what: str
) -> None:
    written = Embedding("cat", vectors(*SETS[what], count=3))
    paths = formats.write(written, tmp_path, format_name)
    names = {key: paths[-1].stem if key == "clip_g" else "cat" for key in written.vectors}
    for key, rows in written.vectors.items():
        back = loaded(tmp_path, names[key], key)
        assert back is not None and back.float().numpy().tobytes() == rows.numpy().tobytes()


def test_comfyui_reads_a_bundle(comfyui_path: Path, tmp_path: Path) -> None:
    written = Embedding("cat", vectors("clip_l", "clip_g"))
    lora = st(tmp_path, LORA, "lora")
    formats.lora_bundle.write(lora, [written], tmp_path / "with.safetensors")
    for key, rows in written.vectors.items():
        assert torch.equal(loaded(tmp_path, "with", key), rows)


def test_comfyui_does_not_list_cards(comfyui_path: Path) -> None:
    import folder_paths

    assert not set(formats.CARD_SUFFIXES) & set(folder_paths.supported_pt_extensions)
    assert set(FILE_EXTENSIONS) >= set(folder_paths.supported_pt_extensions)


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP tokenizer of single letters."""
    folder = tmp_path_factory.mktemp("tokenizer")
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{x}</w>" for x in "abcdefghijklmnopqrstuvwxyz")]
    words = [*letters, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


class Encoder:
    """A small CLIP text encoder with a table of the right width."""

    def __init__(self, folder: Path, width: int) -> None:
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

        self.tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
        config = CLIPTextConfig(
            vocab_size=len(self.tokenizer),
            hidden_size=width,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=8,
        )
        self.model = CLIPTextModel(config)

    def learnt(self, token: str) -> torch.Tensor:
        ids = self.tokenizer.convert_tokens_to_ids([token, f"{token}_1", f"{token}_2"])
        assert self.tokenizer.unk_token_id not in ids
        return self.model.get_input_embeddings().weight.data[ids]


def load_with_diffusers(encoder: Encoder, file: object, token: str | None = None) -> None:
    from diffusers.loaders import TextualInversionLoaderMixin

    class Pipeline(TextualInversionLoaderMixin):
        components: dict = {}  # noqa: RUF012
        hf_device_map = None

    pipeline = Pipeline()
    pipeline.load_textual_inversion(
        file, token=token, tokenizer=encoder.tokenizer, text_encoder=encoder.model
    )


@pytest.mark.parametrize("what", ["SD1", "SD2", "SDXL"])
def test_diffusers_reads_its_own_files(
    comfyui_path: Path, tokenizer_folder: Path, tmp_path: Path, what: str
) -> None:
    pytest.importorskip("diffusers")
    written = Embedding("cat", vectors(*SETS[what], count=3))
    paths = formats.write(written, tmp_path, "diffusers")
    for path, (key, rows) in zip(paths, written.vectors.items(), strict=True):
        encoder = Encoder(tokenizer_folder, WIDTHS[key])
        load_with_diffusers(encoder, str(path))
        assert torch.equal(encoder.learnt("<cat>"), rows)


@pytest.mark.parametrize("format_name", ["a1111_pt", "comfyui"])
def test_diffusers_reads_the_others_too(
    comfyui_path: Path, tokenizer_folder: Path, tmp_path: Path, format_name: str
) -> None:
    pytest.importorskip("diffusers")
    written = Embedding("cat", vectors("clip_l", count=3))
    (path,) = formats.write(written, tmp_path, format_name)
    encoder = Encoder(tokenizer_folder, 768)
    load_with_diffusers(encoder, str(path), token="<cat>")
    assert torch.equal(encoder.learnt("<cat>"), written.vectors["clip_l"])
