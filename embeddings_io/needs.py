"""Which embeddings a workflow needs, and which of them are missing here.

    python -m embeddings_io.needs workflow.json picture.png --embeddings models/embeddings \\
        --loras models/loras

reads workflows in the page's format or the API's, and the ones inside pictures; the exit status is
1 if something is missing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from .carrier import unpack
from .composition import names_in
from .embedding import EmbeddingError
from .formats import lora_bundle
from .library import Library
from .names import without_extension
from .references import find
from .vocabulary import Vocabulary

MAX_FILE = 64 * 1024 * 1024
"""Bytes of a workflow or picture that is read."""

CARRIER, LOADER = "TI_EmbeddingCarrier", "TI_LoadEmbedding"
MAKERS = {"TI_TrainEmbedding": "trained", "TI_Concept": "trained", "TI_SaveEmbedding": "saved"}
"""Nodes whose first text names an embedding that the workflow makes itself."""

Bundled = Callable[[str], Sequence[str]]
"""Takes a text of a workflow; gives the embeddings inside the LoRA that it names, if it does."""


@dataclass(frozen=True)
class Need:
    """One name, the nodes that use it, and where it comes from: None if it is missing."""

    name: str
    nodes: tuple[str, ...]
    source: str | None
    problem: str = ""


def needs_of(
    workflow: Mapping[str, Any], library: Library, bundled: Bundled = lambda text: ()
) -> list[Need]:
    """Every embedding that a workflow's texts and Load Embedding nodes name, in their order."""
    vocabulary = Vocabulary(library)
    nodes = list(_nodes(workflow))
    brought = dict(_brought(nodes, bundled))
    users: dict[str, list[str]] = {}
    for kind, label, texts in nodes:
        if kind != CARRIER:
            for name in _names(kind, texts, vocabulary):
                users.setdefault(name, []).append(label)
    return [
        _need(name, tuple(dict.fromkeys(labels)), brought, vocabulary)
        for name, labels in users.items()
    ]


def report(needs: Sequence[Need]) -> str:
    """A line for every embedding, the missing ones first."""
    if not needs:
        return "This workflow names no embeddings."
    lines = [
        f"MISSING embedding:{n.name}, used by {', '.join(n.nodes)}. {n.problem}"
        for n in needs
        if n.source is None
    ]
    lines += [
        f"embedding:{n.name} is {n.source}, used by {', '.join(n.nodes)}."
        for n in needs
        if n.source is not None
    ]
    return "\n".join(lines)


def workflow_in(path: Path) -> dict[str, Any]:
    """The workflow of a JSON file or inside a picture. Raises EmbeddingError if it has none."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise EmbeddingError(f"{path.name} is larger than {MAX_FILE // 2**20} MiB.")
        if path.suffix.lower() == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
        else:
            found = next(iter(_inside_picture(path)), None)
    except (OSError, ValueError, RecursionError, SyntaxError) as error:
        raise EmbeddingError(f"{path.name} cannot be read as a workflow: {error}.") from error
    if not isinstance(found, dict):
        raise EmbeddingError(f"{path.name} has no workflow inside.")
    return found


def _inside_picture(path: Path) -> Iterator[Any]:
    with Image.open(path) as picture:
        entries = {str(key): value for key, value in picture.info.items()}
        entries |= {
            prefix: rest
            for value in picture.getexif().values()
            if isinstance(value, str)
            for prefix, _, rest in [value.partition(":")]
        }
    for key in ("workflow", "prompt"):
        if isinstance(entries.get(key), str):
            yield json.loads(entries[key])


def _nodes(workflow: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """(type, label, texts) of every node, those of subgraphs too."""
    if not isinstance(workflow.get("nodes"), list):
        for node_id, node in workflow.items():
            if isinstance(node, Mapping) and "class_type" in node:
                title = (node.get("_meta") or {}).get("title") or node["class_type"]
                yield str(node["class_type"]), f"{title} ({node_id})", _texts(node.get("inputs"))
        return
    inner = (workflow.get("definitions") or {}).get("subgraphs") or []
    for graph in (workflow, *inner):
        for node in graph.get("nodes") or []:
            if isinstance(node, Mapping) and node.get("mode") not in (2, 4):
                label = f"{node.get('title') or node.get('type')} ({node.get('id')})"
                yield str(node.get("type")), label, _texts(node.get("widgets_values"))


def _texts(values: Any) -> list[str]:
    """The texts among a node's values."""
    if isinstance(values, Mapping):
        values = list(values.values())
    return [value for value in values or [] if isinstance(value, str)]


def _names(kind: str, texts: Sequence[str], vocabulary: Vocabulary) -> Iterator[str]:
    if kind == LOADER:
        yield from texts[:1]
        return
    for text in texts:
        try:
            yield from names_in(text, vocabulary)
        except EmbeddingError:
            yield from (one.target or one.name for one in find(text, vocabulary.find))


def _brought(
    nodes: Sequence[tuple[str, str, list[str]]], bundled: Bundled
) -> Iterator[tuple[str, str]]:
    """(name, source) of what the workflow has in itself or makes."""
    for kind, label, texts in nodes:
        for text in texts:
            for name in bundled(text):
                yield name, f"in the LoRA {text}"
        if kind in MAKERS and texts:
            yield texts[0].strip(), f"{MAKERS[kind]} by {label}"
        if kind == CARRIER:
            for text in texts:
                try:
                    yield unpack(text).name, f"carried by {label}"
                except EmbeddingError:
                    continue


def _need(
    name: str, nodes: tuple[str, ...], brought: Mapping[str, str], vocabulary: Vocabulary
) -> Need:
    for known in (name, without_extension(name)):
        if known in brought:
            return Need(known, nodes, brought[known])
    target = vocabulary.find(name) if name else None
    if target is not None:
        return Need(without_extension(target), nodes, vocabulary.origin(target))
    return Need(name, nodes, None, vocabulary.problem(name) if name else "The name is empty.")


def _bundled(text: str, folders: Sequence[Path]) -> Sequence[str]:
    """The embeddings in the LoRA file of that name in one of the folders."""
    written = PurePath(text.replace("\\", "/"))
    if written.suffix != ".safetensors" or written.is_absolute() or ".." in written.parts:
        return []
    try:
        path = next((folder / written for folder in folders if (folder / written).is_file()), None)
        return lora_bundle.names(path) if path is not None else []
    except (EmbeddingError, OSError):
        return []


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 if nothing is missing, 1 if something is, 2 if a file has no workflow."""
    parser = argparse.ArgumentParser(prog="python -m embeddings_io.needs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="+", type=Path, help="workflows, or pictures made by one")
    parser.add_argument(
        "--embeddings",
        nargs="+",
        type=Path,
        default=[Path("models", "embeddings")],
        metavar="FOLDER",
        help="the embeddings folders (models/embeddings)",
    )
    parser.add_argument(
        "--loras",
        nargs="*",
        type=Path,
        default=[Path("models", "loras")],
        metavar="FOLDER",
        help="the LoRA folders, whose files may bring words along (models/loras)",
    )
    options = parser.parse_args(arguments)
    library = Library(options.embeddings)

    def bundled(text: str) -> Sequence[str]:
        return _bundled(text, options.loras)

    status = 0
    for file in options.files:
        try:
            needs = needs_of(workflow_in(file), library, bundled)
        except EmbeddingError as error:
            sys.stderr.write(f"{error}\n")
            status = 2
            continue
        sys.stdout.write(f"{file.name}\n{report(needs)}\n")
        if any(need.source is None for need in needs):
            status = max(status, 1)
    return status


if __name__ == "__main__":
    sys.exit(main())
