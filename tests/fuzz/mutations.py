"""Changed copies of a file: of its bytes, or of the structure that its format gives them."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

from textual_inversion.embeddings_io.formats import picture_card

NUMBERS = (0, 1, 2, 4, 8, 127, 128, 255, 256, 768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
WORDS = (
    *(b"clip_l", b"clip_g", b"t5xxl", b"t5", b"emb_params", b"emp_params", b"string_to_param"),
    *(b"bundle_emb.a.clip_l", b"__metadata__", b"F32", b"BF16", b"data_offsets", b"shape"),
    *(b"TORCHTENSOR", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"),
    *(b"cos\nsystem\n", b"cbuiltins\neval\n", b"}", b"(", b"]", b")", b"\x93", b"R", b"b", b"Q"),
    *(b"\x81", b"\x92", b"o", b"i", b"\x94", b"u", b"s", b"e", b"h\x00", b".", b"\x00" * 8),
)
JSON_VALUES = (None, True, 0, -1, 2**63, 1e308, "", "F32", [], {}, [[]], [0, 2**40], {"a": {}})
PNG = b"\x89PNG\r\n\x1a\n"


def mutated(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """A mutant of the content; `other` is a file to cut pieces from."""
    for _ in range(1 + int(chance.expovariate(0.7))):
        structured = chance.random() < 0.7
        changed = _structured(content, other, chance) if structured else None
        content = changed if changed is not None else of_bytes(content, other, chance)
    return content[: 4 * 2**20]


def of_bytes(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Bytes set, inserted, removed, repeated, taken from another file, or cut off."""
    data = bytearray(content)
    reach = len(data) if chance.random() < 0.4 else min(len(data), 600)
    at = chance.randrange(reach + 1)
    length = min(chance.choice((1, 1, 2, 4, 8, 16, 64, 300)), max(1, len(data) - at))
    kind = chance.randrange(8)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = chance.randrange(256)
    elif kind == 2:
        data[at:at] = chance.choice(WORDS)
    elif kind == 3:
        del data[at : at + length]
    elif kind == 4:
        data[at:at] = data[at : at + length] * chance.choice((1, 2, 30))
    elif kind == 5:
        start = chance.randrange(len(other) + 1)
        data[at : at + length] = other[start : start + length]
    elif kind == 6:
        number = chance.choice(NUMBERS)
        packed = struct.pack(chance.choice(("<Q", ">Q")), number)
        data[at : at + chance.choice((1, 2, 4, 8))] = packed[: chance.choice((1, 2, 4, 8))]
    else:
        del data[at:]
    return bytes(data)


def _structured(content: bytes, other: bytes, chance: random.Random) -> bytes | None:
    if content[:4] == b"PK\x03\x04":
        return _archive(content, other, chance)
    if content[:8] == PNG:
        return _card(content, other, chance)
    if content[8:9] == b"{":
        return _header(content, other, chance)
    return None


def _archive(content: bytes, other: bytes, chance: random.Random) -> bytes | None:
    """A torch archive with one of its parts changed, removed, renamed or compressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()[:50]}
    except Exception:
        return None
    if not parts:
        return None
    program = next((name for name in parts if name.endswith("data.pkl")), None)
    name = program if program and chance.random() < 0.75 else chance.choice(sorted(parts))
    kind = chance.randrange(12)
    if kind == 0:
        del parts[name]
    elif kind == 1:
        parts[name + chance.choice(("", "x", "/data.pkl", "0"))] = parts.pop(name)
    else:
        parts[name] = of_bytes(parts[name], other, chance)
    how = zipfile.ZIP_DEFLATED if chance.random() < 0.1 else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part, compress_type=how)
    return buffer.getvalue()


def _header(content: bytes, other: bytes, chance: random.Random) -> bytes | None:
    """A safetensors file whose header's JSON is changed, its length put right."""
    length = int.from_bytes(content[:8], "little")
    text, data = content[8 : 8 + length], content[8 + length :]
    try:
        header = json.loads(text)
    except ValueError:
        text = of_bytes(text, other, chance)
    else:
        changed = _json(header, chance)
        text = json.dumps(changed).encode()
    return len(text).to_bytes(8, "little") + text + data


def _json(value: object, chance: random.Random) -> object:
    """A table with something in it replaced, renamed, removed or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(sorted(value))
        kind = chance.randrange(6)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            name = chance.choice(WORDS).decode("latin-1")
            return {(name if k == key else k): v for k, v in value.items()}
        if kind == 2:
            return value | {chance.choice(WORDS).decode("latin-1"): value[key]}
        return value | {key: _json(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        return [*value[:at], _json(value[at], chance), *value[at + 1 :]]
    if isinstance(value, int) and chance.random() < 0.7:
        return chance.choice((value + 1, value - 1, 2 * value, -value, *NUMBERS))
    return chance.choice(JSON_VALUES)


def _hidden(text: bytes) -> bytes:
    """A PNG with the text in its pixels alone."""
    left, right = picture_card.hide_text(text, 64)
    black = np.zeros((64, 1, 3), np.uint8)
    pixels = np.concatenate([left | 0xA0, black, black, right | 0xA0], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _card(content: bytes, other: bytes, chance: random.Random) -> bytes | None:
    """A PNG with one of its chunks changed and its checksum put right."""
    chunks = []
    at = len(PNG)
    while at + 12 <= len(content) and len(chunks) < 200:
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return None
    number = chance.randrange(len(chunks))
    kind, data = chunks[number]
    if kind == b"tEXt" and b"\0" in data and chance.random() < 0.8:
        keyword, _, text = data.partition(b"\0")
        try:
            decoded = base64.b64decode(text)
            changed = _json(json.loads(decoded), chance) if chance.random() < 0.5 else None
        except ValueError:
            return None
        inside = json.dumps(changed).encode() if changed else of_bytes(decoded, other, chance)
        data = keyword + b"\0" + base64.b64encode(inside)
        if chance.random() < 0.3:
            return _hidden(inside)
    else:
        data = of_bytes(data, other, chance)
    chunks[number] = (kind, data)
    if chance.random() < 0.05:
        del chunks[number]
    return PNG + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
