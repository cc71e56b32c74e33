"""Vocabularies of a few hundred pieces, in the forms that checkpoints bring their own in."""

from __future__ import annotations

import base64
import io
import json
from functools import cache

import torch

TEXTS = [
    "a photo of a cat and a dog on the grass",
    "a sign in two lines, a picture of a cat",
    "describe the image in words",
    "a quick brown fox jumps over the lazy dog",
]
MARK = "<|object_ref_start|>"
"""A token that stands for nothing a prompt has."""


@cache
def sentencepiece_model(pad: int, end: int, start: int, unknown: int) -> torch.Tensor:
    """A model for `sentencepiece`, whose bytes checkpoints hold as a tensor."""
    from sentencepiece import SentencePieceTrainer

    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS),
        model_writer=written,
        vocab_size=400,
        hard_vocab_limit=False,
        byte_fallback=True,
        pad_id=pad,
        eos_id=end,
        bos_id=start,
        unk_id=unknown,
        minloglevel=2,
    )
    return torch.frombuffer(bytearray(written.getvalue()), dtype=torch.uint8)


def t5_model() -> torch.Tensor:
    return sentencepiece_model(0, 1, -1, 2)


def gemma_model() -> torch.Tensor:
    return sentencepiece_model(0, 1, 2, 3)


def roberta_model() -> torch.Tensor:
    return sentencepiece_model(1, 2, 0, 3)


@cache
def tekken_model() -> torch.Tensor:
    """Mistral's vocabulary of the 256 bytes, as the bytes of its JSON."""
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", MARK]
    special += [f"<SPECIAL_{number}>" for number in range(len(special), 20)]
    pieces = [
        {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None}
        for byte in range(256)
    ]
    config = {
        "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+",
        "num_vocab_tokens": len(pieces),
        "default_vocab_size": len(pieces) + len(special),
        "default_num_special_tokens": len(special),
        "version": "v3",
    }
    tokens = [{"rank": i, "token_str": one, "is_control": True} for i, one in enumerate(special)]
    written = json.dumps({"config": config, "vocab": pieces, "special_tokens": tokens})
    return torch.frombuffer(bytearray(written.encode()), dtype=torch.uint8)


@cache
def tokenizer_json(known: str = "") -> torch.Tensor:
    """A vocabulary of bytes and a text's words for the library `tokenizers`, as its JSON."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        min_frequency=0,
        special_tokens=["<pad>", "<eos>", "<bos>", "<unk>", MARK],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*TEXTS, known], trainer)
    return torch.frombuffer(bytearray(made.to_str().encode()), dtype=torch.uint8)
