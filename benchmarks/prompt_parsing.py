"""How long it takes to read 10,000 prompts of 300 characters, in CPU time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from embeddings_io.grammar.sugar import desugar
from embeddings_io.references import Lookup, expand, find

PROMPTS = 10_000
LENGTH = 300
REPEATS = 3

TEXT = (
    "masterpiece, best quality, photo of a cat on a beach at sunset, (sharp focus:1.2), 8k, "
    "highly detailed, [soft light], volumetric, ((dramatic)), a man, a woman, blue sky, trees,"
)
NAMES = [f"style/word-{number}" for number in range(1000)]
KINDS: dict[str, tuple[str, ...]] = {
    "no embeddings": (),
    "three references": ("embedding:{}", ",embedding:{},", "(embedding:{}:1.2)"),
    "a quote, a slice, a tag, a formula": (
        'embedding:"{}"',
        "embedding:{}[0:2]",
        "<{}>",
        '{{0.6*embedding:{} + 0.4*"tiger"}}',
    ),
}


@dataclass(frozen=True)
class Timing:
    """CPU seconds for all prompts of one kind, the best of the repeats."""

    kind: str
    reading: float
    expanding: float


def prompts(kind: str, count: int) -> list[str]:
    """Different texts of 300 characters with the kind's references at random places."""
    chance = random.Random(kind)
    found = []
    for _ in range(count):
        pieces = chance.choices(TEXT.split(), k=60)
        inserted = [form.format(chance.choice(NAMES)) for form in KINDS[kind]]
        room = LENGTH - sum(len(piece) + 1 for piece in inserted)
        text = " ".join(pieces)[:room].rsplit(" ", 1)[0].split(" ")
        for piece in inserted:
            text.insert(chance.randrange(len(text) + 1), piece)
        found.append(" ".join(text).ljust(LENGTH, "."))
    return found


def measure(count: int = PROMPTS) -> list[Timing]:
    """Reading (everything found, with weights) and expanding, one after the other, per kind."""
    lookup: Lookup = {name: name for name in NAMES}.get
    return [
        Timing(
            kind,
            _best(lambda texts: [read(text, lookup) for text in texts], prompts(kind, count)),
            _best(lambda texts: [expanded(text, lookup) for text in texts], prompts(kind, count)),
        )
        for kind in KINDS
    ]


def read(text: str, lookup: Lookup) -> int:
    """The number of embeddings in a prompt."""
    plain = desugar(text, lookup)
    return len(find(plain.text, lambda name: name if name in plain.stand_ins else lookup(name)))


def expanded(text: str, lookup: Lookup) -> str:
    """The prompt as a tokenizer is given it."""
    plain = desugar(text, lookup)
    return expand(plain.text, lambda name: name if name in plain.stand_ins else lookup(name))


def table(timings: list[Timing], count: int = PROMPTS) -> str:
    """The timings as Markdown, in CPU seconds for 10,000 prompts."""
    scale = PROMPTS / count
    lines = [
        f"| {PROMPTS} prompts of {LENGTH} characters with | reading, s | and expanding, s |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {t.kind} | {t.reading * scale:.2f} | {t.expanding * scale:.2f} |" for t in timings
    ]
    return "\n".join(lines)


def _best(work: Callable[[list[str]], object], texts: list[str]) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.process_time()
        work(texts)
        seconds.append(time.process_time() - started)
    return min(seconds)
