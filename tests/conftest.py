"""The pack under the name ``textual_inversion``, and a ComfyUI to run it in.

The pack's folder is never put on sys.path: its ``nodes`` would hide ComfyUI's own.
COMFYUI_PATH (set by ``dev.py test``) says where ComfyUI is; without it tests/host is skipped.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

_pack = types.ModuleType("textual_inversion")
_pack.__path__ = [str(ROOT)]
_pack.__file__ = str(ROOT / "__init__.py")
sys.modules.setdefault("textual_inversion", _pack)


def pytest_configure() -> None:
    """End the servers too when the run is terminated."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 143))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def comfyui_folder() -> Path:
    """The ComfyUI folder that COMFYUI_PATH names."""
    named = os.environ.get("COMFYUI_PATH")
    if not named:
        pytest.skip("COMFYUI_PATH is not set; run the tests with: python3 dev.py test")
    folder = Path(named)
    assert (folder / "main.py").is_file(), f"COMFYUI_PATH: no main.py in {folder}"
    return folder


@pytest.fixture(scope="session")
def comfyui_path(comfyui_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI made importable in this process, on the CPU, with a base directory of its own."""
    if str(comfyui_folder) not in sys.path:
        sys.path.insert(0, str(comfyui_folder))
    from comfy.cli_args import args

    if not args.base_directory:
        base = tmp_path_factory.mktemp("comfyui_base")
        for name in ("models/embeddings", "models/checkpoints", "input", "output", "temp"):
            (base / name).mkdir(parents=True)
        args.base_directory = str(base)
        args.cpu = True
        args.database_url = "sqlite:///:memory:"
    return comfyui_folder


@pytest.fixture(scope="session")
def checkpoint(request: pytest.FixtureRequest) -> Path:
    """The microworld's checkpoint in the Stable Diffusion 1.5 format (TI_CHECKPOINT)."""
    named = os.environ.get("TI_CHECKPOINT")
    if not named:
        pytest.skip("TI_CHECKPOINT is not set; run the tests with: python3 dev.py test")
    assert Path(named).is_file(), f"TI_CHECKPOINT: no file {named}"
    return Path(named)


@pytest.fixture(scope="session")
def server(
    comfyui_folder: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[object]:
    """A running ComfyUI with the pack and the microworld's checkpoint, for the whole session."""
    from textual_inversion.devtools.comfyui import ComfyUI
    from textual_inversion.devtools.server import BaseDirectory, Server, link_or_copy

    base = BaseDirectory(tmp_path_factory.mktemp("server")).prepare()
    link_or_copy(checkpoint, base.checkpoints / "microworld.safetensors")
    test_nodes = ROOT / "tests" / "host" / "bad_inputs"
    link_or_copy(test_nodes, base.folder / "custom_nodes" / test_nodes.name)
    python = Path(os.environ.get("COMFYUI_PYTHON", sys.executable))
    with Server(ComfyUI(comfyui_folder, python), base, cpu=True) as running:
        yield running


@pytest.fixture(scope="session")
def client(server) -> object:
    """The API client of the running server."""
    from textual_inversion.devtools.client import Client

    return Client(server.address)
