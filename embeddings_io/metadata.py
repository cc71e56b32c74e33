"""What an embedding's file says about itself: ModelSpec 1.0.1 keys and our own.

    describe(
        name="my-cat",                        # the embedding's name
        encoders=["clip_l"],                  # encoder keys it holds vectors for
        num_vectors=4,
        architecture="stable-diffusion-v1",   # ModelSpec's word for the model family
        base_model="",                        # file name of the checkpoint, "" if unknown
        initializer_text="cat", kind="subject", steps=400, pictures=6,
        recipe={"learning_rate": 0.05},       # anything JSON can hold
        resolution=(512, 512),                # width, height in pixels the pictures were cut to
        base_model_hash="",                   # first eight digits, as A1111 shows them
        date="", author="", description="",   # left out of the file when empty
        license="", tags=[],
    ) -> dict[str, str]

All but `name` may be left out. Nothing here looks at the clock: a date is written only when one is
passed, so that the same training gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence

from .model_families import architecture
from .names import EmbeddingError

REMOVED = "-"
"""What to write for a text that is to be taken out."""
OWN = "textual_inversion."
"""Prefix of the keys that ModelSpec has no word for."""

RECIPE = f"{OWN}recipe"
STEPS = f"{OWN}steps"
BASE_MODEL = f"{OWN}base_model"
BASE_MODEL_HASH = f"{OWN}base_model_hash"
PLACEHOLDER = f"{OWN}placeholder"
"""The word that another trainer put into its prompts."""
TITLE = "modelspec.title"
TRIGGER_PHRASE = "modelspec.trigger_phrase"
COVERS = "ssmd_cover_images"
"""A JSON list of pictures in base64, which ComfyUI's model library shows."""
THUMBNAIL = "modelspec.thumbnail"
"""One small picture as a data URL, which is ModelSpec's own place for it."""
HASH = "modelspec.hash_sha256"
"""Of a file's tensors, '0x' and hexadecimal; it belongs to a file, never to an embedding."""
VERSION = "modelspec.sai_model_spec"

EDITABLE: Mapping[str, str] = {
    "title": TITLE,
    "trigger_words": TRIGGER_PHRASE,
    "description": "modelspec.description",
    "usage_hint": "modelspec.usage_hint",
    "author": "modelspec.author",
    "license": "modelspec.license",
    "tags": "modelspec.tags",
}
"""What people write about an embedding themselves, and the ModelSpec key of each."""
IMPLEMENTATION = "https://github.com/comfyanonymous/ComfyUI"


def describe(
    *,
    name: str,
    encoders: Sequence[str] = (),
    num_vectors: int | None = None,
    architecture: str = "stable-diffusion-v1",
    base_model: str = "",
    initializer_text: str | None = None,
    kind: str = "",
    steps: int | None = None,
    pictures: int | None = None,
    recipe: Mapping[str, object] | None = None,
    resolution: tuple[int, int] | None = None,
    date: str = "",
    author: str = "",
    description: str = "",
    base_model_hash: str = "",
    license: str = "",
    tags: Sequence[str] = (),
) -> dict[str, str]:
    """The metadata of a trained embedding, every value a string, in a fixed order."""
    entries: dict[str, object] = {
        VERSION: "1.0.1",
        "modelspec.architecture": f"{architecture}/textual-inversion",
        "modelspec.implementation": IMPLEMENTATION,
        TITLE: name,
        TRIGGER_PHRASE: f"embedding:{name}",
        "modelspec.description": description,
        "modelspec.author": author,
        "modelspec.license": license,
        "modelspec.tags": ", ".join(tags),
        "modelspec.date": date,
        "modelspec.resolution": "x".join(map(str, resolution)) if resolution else "",
        BASE_MODEL: base_model,
        BASE_MODEL_HASH: base_model_hash,
        f"{OWN}encoders": ",".join(encoders),
        f"{OWN}num_vectors": num_vectors,
        f"{OWN}kind": kind,
        f"{OWN}initializer_text": initializer_text,
        STEPS: steps,
        f"{OWN}pictures": pictures,
        RECIPE: _json(recipe) if recipe is not None else None,
    }
    return {key: str(value) for key, value in entries.items() if value is not None and value != ""}


def identified(metadata: Mapping[str, str], name: str, encoders: Collection[str]) -> dict[str, str]:
    """The metadata with what ModelSpec demands of every file, where it is missing."""
    demanded = {
        VERSION: "1.0.1",
        "modelspec.architecture": f"{architecture(encoders)}/textual-inversion",
        "modelspec.implementation": IMPLEMENTATION,
        TITLE: name,
        TRIGGER_PHRASE: f"embedding:{name}",
    }
    return {**demanded, **metadata}


def hashed(metadata: Mapping[str, str], data: bytes) -> dict[str, str]:
    """The metadata of a file with this data behind its header: with ModelSpec's hash of the data.

    Metadata that does not follow ModelSpec gets none.
    """
    said = {key: value for key, value in metadata.items() if key != HASH}
    return said | {HASH: hash_text(hashlib.sha256(data))} if VERSION in said else said


def hash_text(digest: hashlib._Hash) -> str:
    """A SHA-256 as ModelSpec writes it."""
    return f"0x{digest.hexdigest()}"


def retitled(metadata: Mapping[str, str], name: str) -> dict[str, str]:
    """The same metadata for an embedding that is now called `name`."""
    changed = {TITLE: name, TRIGGER_PHRASE: f"embedding:{name}"}
    return {key: changed.get(key, value) for key, value in metadata.items()}


def edited(metadata: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """The metadata with texts of EDITABLE changed: '' leaves one as it is, '-' takes it out.

    Raises EmbeddingError for a word that is not editable.
    """
    changed = dict(metadata)
    for word, text in texts.items():
        if word not in EDITABLE:
            raise EmbeddingError(
                f"'{word[:80]}' cannot be edited; choose from {', '.join(EDITABLE)}."
            )
        if text.strip() == REMOVED:
            changed.pop(EDITABLE[word], None)
        elif text.strip():
            changed[EDITABLE[word]] = text.strip()
    return changed


def told(metadata: Mapping[str, str]) -> list[str]:
    """What an embedding's metadata says of it, a line each, for people."""
    lines = [f"{word}: {metadata[key]}" for word, key in EDITABLE.items() if metadata.get(key)]
    trained = [
        f"{metadata[key]} {unit}"
        for key, unit in ((STEPS, "steps"), (f"{OWN}pictures", "pictures"))
        if metadata.get(key)
    ]
    initializer = metadata.get(f"{OWN}initializer_text")
    if initializer:
        trained.append(f"from '{initializer}'")
    if metadata.get(BASE_MODEL):
        trained.append(f"on {metadata[BASE_MODEL]}")
    return [*lines, *([f"trained: {', '.join(trained)}"] if trained else [])]


def recipe_of(metadata: Mapping[str, str]) -> dict[str, object]:
    """The recipe an embedding was trained with; empty where none is recorded or readable."""
    try:
        recipe = json.loads(metadata.get(RECIPE, "{}"))
    except ValueError:
        return {}
    return recipe if isinstance(recipe, dict) else {}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
