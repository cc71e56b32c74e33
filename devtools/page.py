"""``dev.py host``: ComfyUI's page with the nodes installed and the microworld to try them on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .cache import Cache
from .comfyui import ComfyUI
from .console import say
from .filelock import FileLock
from .microworld import checkpoint
from .server import BaseDirectory, Server, link_or_copy


def serve(cache: Cache, comfyui: ComfyUI, *, cpu: bool, port: int | None) -> int:
    """Serve the page until Ctrl-C."""
    model = checkpoint(cache, comfyui)
    with _own_base(cache) as folder:
        base = BaseDirectory(folder).prepare()
        target = base.checkpoints / "microworld.safetensors"
        target.unlink(missing_ok=True)
        link_or_copy(model, target)
        with Server(comfyui, base, cpu=cpu, port=port, show_log=True) as server:
            say(f"\nComfyUI: http://{server.address}  (Ctrl-C ends it)")
            say(f"Its models, pictures and embeddings are in {folder}\n")
            with contextlib.suppress(KeyboardInterrupt):
                server.process.wait()
    return 0


@contextlib.contextmanager
def _own_base(cache: Cache) -> Iterator[Path]:
    """The page's base directory: kept between runs, and never shared by two at once."""
    number = 1
    while True:
        name = "page" if number == 1 else f"page-{number}"
        lock = FileLock(cache.folder / f"{name}.lock")
        if lock.acquire(wait=False):
            break
        number += 1
    folder = cache.folder / name
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        lock.release()
