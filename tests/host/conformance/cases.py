"""The prompts of the conformance table and their meaning.

A meaning is a list of (piece, weight): plain text, or '@name' for an embedding's vectors, with
'[first:last]' behind it for some of them, or '@=' and an entry of FORMULAS. ERROR stands for a
prompt that must be refused. Pieces of text are tokenised one by one, so no parser is needed to
know what is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

NAMES = {
    "a": 1,
    "b": 3,
    "style/c": 2,
    "ver1.2": 1,
    "e-x_9": 8,
    "my cat": 2,
    "it's (2)": 1,
    "EasyNeg": 4,
    "paren(1)": 1,
}

Meaning = list[tuple[str, float]]
ERROR: Meaning = [("error", 0.0)]

Vectors = Mapping[str, torch.Tensor]
FORMULAS: dict[str, Callable[[Vectors], torch.Tensor]] = {
    "a+b": lambda v: v["a"] + v["b"],
    "2a": lambda v: v["a"] * 2,
    "a-a/2": lambda v: v["a"] - v["a"] / 2,
    "mean b": lambda v: v["b"].mean(0, keepdim=True),
    "0.25a+0.75c": lambda v: 0.25 * v["a"] + 0.75 * v["style/c"],
    "b0-b2": lambda v: v["b"][0:1] - v["b"][2:3],
}


def one(*pieces: str) -> Meaning:
    """Pieces at weight 1."""
    return [(piece, 1.0) for piece in pieces]


BY_HAND: list[tuple[str, Meaning]] = [
    # how ComfyUI wants it
    ("embedding:a", one("@a")),
    ("photo of embedding:a cat", one("photo of", "@a", "cat")),
    ("photo, embedding:a, cat", one("photo,", "@a", ", cat")),
    ("embedding:a.safetensors", one("@a")),
    ("embedding: a", one("@a")),
    ("(embedding:a:1.2)", [("@a", 1.2)]),
    ("((embedding:a))", [("@a", 1.1 * 1.1)]),
    ("(photo of embedding:a:1.3)", [("photo of", 1.3), ("@a", 1.3)]),
    ("(embedding: a)", [("@a", 1.1)]),
    ("embedding:style/c", one("@style/c")),
    ("embedding:c", one("@style/c")),
    ("embedding:paren\\(1\\)", one("@paren(1)")),
    ("(cat embedding:paren\\(1\\):1.3)", [("cat", 1.3), ("@paren(1)", 1.3)]),
    ("embedding:ver1.2", one("@ver1.2")),
    ("photo\nembedding:a\ncat", one("photo", "@a", "cat")),
    ("embedding:a embedding:b", one("@a", "@b")),
    ("cat", one("cat")),
    ("", []),
    # commas, dots and other neighbours
    ("photo,embedding:a", one("photo,", "@a")),
    ("embedding:a,cat", one("@a", ",cat")),
    ("embedding:a,embedding:b", one("@a", ",", "@b")),
    ("embedding:a,(embedding:b:1),embedding:a", one("@a", ",", "@b", ",", "@a")),
    ("x,(embedding:a:1.1),embedding:b", [("x,", 1), ("@a", 1.1), (",", 1), ("@b", 1)]),
    ("embedding:a.", one("@a", ".")),
    ("embedding:a...", one("@a", "...")),
    ("embedding:a!", one("@a", "!")),
    ("embedding:a?", one("@a", "?")),
    ("embedding:a; cat", one("@a", "; cat")),
    ("embedding:a's hat", one("@a", "'s hat")),
    ("embedding:ver1.2.", one("@ver1.2", ".")),
    ("embedding:a:", one("@a", ":")),
    ("[embedding:a]", one("[", "@a", "]")),
    ("[embedding:a:embedding:b:0.5]", [*one("[", "@a", ":"), ("@b", 0.5), ("]", 1)]),
    ('"embedding:a"', one('"', "@a", '"')),
    ("'embedding:a'", one("'", "@a", "'")),
    ("{embedding:a}", one("{", "@a", "}")),
    ("{embedding:a|embedding:b}", one("{", "@a", "|", "@b", "}")),
    ("{cat|dog|embedding:a}", one("{cat|dog|", "@a", "}")),
    ("<x>embedding:a", one("<x>", "@a")),
    ("embedding:a<|im_end|>", one("@a", "<|im_end|>")),
    ("embedding:a[x]", one("@a", "[x]")),
    ("\\(embedding:a\\)", one("(", "@a", ")")),
    ("(cat)embedding:a(dog)", [("cat", 1.1), ("@a", 1), ("dog", 1.1)]),
    ("photo\tembedding:a", one("photo", "@a")),
    ("photo\r\nembedding:a\r\ncat", one("photo", "@a", "cat")),
    ("photo\u00a0embedding:a\u3000cat", one("photo", "@a", "cat")),
    ("embedding:\na", one("@a")),
    ("embedding:\ta", one("@a")),
    # weights without brackets, and brackets without an end
    ("embedding:a:1.2", [("@a", 1.2)]),
    ("embedding:a:1.2, cat", [("@a", 1.2), (", cat", 1)]),
    ("embedding:a:.5 cat", [("@a", 0.5), ("cat", 1)]),
    ("(x embedding:a:1.2, y:1.3)", [("x", 1.3), ("@a", 1.2), (", y", 1.3)]),
    ("(embedding:badname:1.3)", ERROR),
    ("(easynegative:6)", [("easynegative", 6.0)]),
    ("(embedding:EasyNeg:6)", [("@EasyNeg", 6.0)]),
    ("(embedding:a", one("(", "@a")),
    ("embedding:a)", one("@a", ")")),
    ("(embedding:a:1.2", one("(", "@a", ":1.2")),
    ("((embedding:a:2)", [("(", 2.0), ("@a", 2.0)]),
    ("(embedding:a:-0.5)", [("@a", -0.5)]),
    ("(embedding:a:0)", [("@a", 0.0)]),
    ("((cat embedding:a:1.5) dog:0.5)", [("cat", 1.5), ("@a", 1.5), ("dog", 0.5)]),
    # names
    ("embedding:A", ERROR),
    ("embedding:easyneg", ERROR),
    ("embedding:nope", ERROR),
    ("embedding:nope, cat", ERROR),
    ("embedding:aa", ERROR),
    ("embedding:aembedding:b", ERROR),
    ("embedding:a-b", ERROR),
    ("embedding:sub dir/b", ERROR),
    ("embedding:../a", ERROR),
    ("embedding:/etc/passwd", ERROR),
    ("embedding:", ERROR),
    ("x embedding:", ERROR),
    ("(embedding:)", ERROR),
    ("embedding: ", ERROR),
    ("embedding:,a", ERROR),
    ("embedding:embedding:a", one("@a")),
    ("embedding:embedding:embedding:embedding:a", one("@a")),
    ("myembedding:a", one("myembedding:a")),
    ("embeddings:a", one("embeddings:a")),
    ("embedding a", one("embedding a")),
    ("EMBEDDING:a", one("EMBEDDING:a")),
    ("a, b, EasyNeg", one("a, b, EasyNeg")),
    ("embedding:style\\c", one("@style/c")),
    ("embedding:e-x_9", one("@e-x_9")),
    ("embedding:it's \\(2\\)", ERROR),
    # quotes
    ('embedding:"a"', one("@a")),
    ('embedding:"my cat"', one("@my cat")),
    ('photo,embedding:"my cat",sky', one("photo,", "@my cat", ",sky")),
    ('(embedding:"my cat":1.2)', [("@my cat", 1.2)]),
    ('embedding:"my cat":1.2', [("@my cat", 1.2)]),
    ('embedding:"it\'s (2)"', one("@it's (2)")),
    ('(a photo of embedding:"it\'s (2)":0.5)', [("a photo of", 0.5), ("@it's (2)", 0.5)]),
    ('embedding:"style/c"', one("@style/c")),
    ('embedding:"nope at all"', ERROR),
    ('embedding: "my cat"', one("@my cat")),
    # slices
    ("embedding:b[0]", one("@b[0:1]")),
    ("embedding:b[0:2]", one("@b[0:2]")),
    ("embedding:b[1:],x", one("@b[1:]", ",x")),
    ("embedding:b[:1]", one("@b[:1]")),
    ("embedding:b[-1]", one("@b[-1:]")),
    ("(embedding:b[0:2]:1.2)", [("@b[0:2]", 1.2)]),
    ('embedding:"my cat"[1]', one("@my cat[1:2]")),
    ("embedding:b[7]", ERROR),
    ("embedding:b[cat:dog:0.5]", one("@b", "[cat:dog:0.5]")),
    # formulas
    ("{embedding:a + embedding:b}", one("@=a+b")),
    ("x {2*embedding:a}, y", one("x", "@=2a", ", y")),
    ("\\{2 * embedding:a\\}", one("@=2a")),
    ("({embedding:a - embedding:a / 2}:1.3)", [("@=a-a/2", 1.3)]),
    ("{embedding:a - embedding:a/2}", ERROR),
    ("{embedding:a - embedding:a / 2}", one("@=a-a/2")),
    ("photo,{mean(embedding:b)},x", one("photo,", "@=mean b", ",x")),
    ("{0.25*embedding:a+0.75*embedding:style/c}", one("@=0.25a+0.75c")),
    ("{embedding:b[0] - embedding:b[2]}", one("@=b0-b2")),
    ("{embedding:a + tiger}", ERROR),
    ("{embedding:a + embedding:nope}", ERROR),
    ("{cat + dog}", one("{cat + dog}")),
    # A1111's ways
    ("<a>", one("@a")),
    ("<my cat>,sky", one("@my cat", ",sky")),
    ("<nobody>", one("<nobody>")),
    ("<embedding:a>", one("@a")),
    ("<embedding:a:0.8> x", [("@a", 0.8), ("x", 1)]),
    ("<embedding:nope>", ERROR),
    ("<lora:a:0.8> embedding:a", one("<lora:a:0.8>", "@a")),
    ("photo <lora:style/c:1>", one("photo <lora:style/c:1>")),
]  # fmt: skip

BEFORE = {"": [], "photo,": ["photo,"], "[": ["["], 'a "': ['a "'], "red|": ["red|"], "x\n": ["x"]}
AFTER = {"": [], ",sky": [",sky"], ".": ["."], "]": ["]"], '"': ['"'], " sky": ["sky"]}


def generated() -> list[tuple[str, Meaning]]:
    """Every neighbour before a name with every one after it, and some at a weight in brackets."""
    found = []
    names = sorted(name for name in NAMES if not set(name) & set(" '("))
    for row, (before, before_means) in enumerate(BEFORE.items()):
        for column, (after, after_means) in enumerate(AFTER.items()):
            name = names[(row + column) % len(names)]
            pieces = [*before_means, f"@{name}", *after_means]
            found.append((f"{before}embedding:{name}{after}", one(*pieces)))
            if (row + column) % 3 == 0:
                weighted = f"({before}embedding:{name}{after}:1.3)"
                found.append((weighted, [(piece, 1.3) for piece in pieces]))
    return found


def cases() -> dict[str, Meaning]:
    """All prompts and their meaning."""
    return dict([*BY_HAND, *generated()])
