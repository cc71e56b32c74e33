"""Who may import whom, read from the imports themselves."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "__init__": {"nodes"},
    "nodes": {"training", "host", "embeddings_io"},
    "host": {"training", "embeddings_io"},
    "training": {"embeddings_io"},
    "embeddings_io": set(),
}
THIRD_PARTY = {
    "__init__": set(),
    "nodes": {"torch", "numpy", "PIL", "comfy_api"},
    "training": {"torch"},
    "embeddings_io": {"torch", "safetensors", "numpy", "PIL"},
}
COMFYUI = {
    "app",
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "latent_preview",
    "node_helpers",
    "server",
}
FORBIDDEN_EVERYWHERE = {"pickle", "subprocess", "importlib", "textual_inversion"}


def modules() -> list[Path]:
    files = [ROOT / "__init__.py"]
    for package in MAY_IMPORT:
        files += sorted((ROOT / package).rglob("*.py"))
    return [file for file in files if file.is_file()]


def package_of(file: Path) -> str:
    relative = file.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else "__init__"


def imports(file: Path) -> tuple[set[str], set[str]]:
    """The packages of the pack, and the outside packages, that a module imports."""
    inside: set[str] = set()
    outside: set[str] = set()
    here = file.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            outside |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            outside.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1]
            named = (*base, *(node.module or "").split(".")) if node.module else base
            if named:
                inside.add(named[0])
            else:
                inside |= {alias.name for alias in node.names}
    return inside, outside - set(sys.stdlib_module_names)


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_follow_the_directions(file: Path) -> None:
    package = package_of(file)
    inside, outside = imports(file)
    assert inside - {package} <= MAY_IMPORT[package]
    if package in THIRD_PARTY:
        assert outside <= THIRD_PARTY[package]
    if package != "host":
        assert not outside & (COMFYUI - {"comfy_api"})


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(ROOT)))
def test_the_pack_does_without_risky_modules(file: Path) -> None:
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level == 0
    }
    assert not names & FORBIDDEN_EVERYWHERE


def test_the_reader_sees_what_it_must_see(tmp_path: Path) -> None:
    assert {package_of(file) for file in modules()} == set(MAY_IMPORT)
    nodes_file = next(file for file in modules() if package_of(file) == "nodes")
    inside, outside = imports(nodes_file.parent / "train_embedding.py")
    assert "comfy_api" in outside and {"training", "host"} & inside


def test_the_entry_point_imports_inside() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    top_level = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in top_level)
    functions = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    assert [function.name for function in functions] == ["comfy_entrypoint"]
    assert "NODE_CLASS_MAPPINGS" not in (ROOT / "__init__.py").read_text(encoding="utf-8")


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not {file.stem for file in modules()} & vague


def test_modules_stay_small() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in modules()
    }
    assert not {name: count for name, count in lengths.items() if count > 350}
