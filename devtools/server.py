"""A real ComfyUI server with the pack installed, in a base directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from .comfyui import ComfyUI
from .console import DevError

PACK = Path(__file__).resolve().parents[1]
PACK_NAME = "textual-inversion"
MODEL_FOLDERS = ("checkpoints", "embeddings", "loras", "vae")


class BaseDirectory:
    """A folder laid out as ComfyUI wants it, with the pack linked into custom_nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.input = folder / "input"
        self.output = folder / "output"
        self.checkpoints = folder / "models" / "checkpoints"
        self.embeddings = folder / "models" / "embeddings"
        self.log = folder / "comfyui.log"
        self.search_paths = folder / "search_paths.yaml"

    def prepare(self) -> BaseDirectory:
        for place in (self.input, self.output, self.folder / "temp", self.folder / "user"):
            place.mkdir(parents=True, exist_ok=True)
        for name in MODEL_FOLDERS:
            (self.folder / "models" / name).mkdir(parents=True, exist_ok=True)
        nodes = self.folder / "custom_nodes"
        nodes.mkdir(exist_ok=True)
        if not (nodes / PACK_NAME).exists():
            link_or_copy(PACK, nodes / PACK_NAME)
        paths = {name: name for name in MODEL_FOLDERS}
        entry = {"base_path": str(self.folder / "models"), "is_default": True, **paths}
        self.search_paths.write_text(json.dumps({PACK_NAME: entry}), encoding="utf-8")
        return self


class Server:
    """A ComfyUI process; ``with Server(...) as server`` waits until it answers, and ends it."""

    def __init__(
        self,
        comfyui: ComfyUI,
        base: BaseDirectory,
        *,
        cpu: bool,
        port: int | None = None,
        options: Sequence[str] = (),
        show_log: bool = False,
    ) -> None:
        self.comfyui = comfyui
        self.base = base
        self.port = port or free_port()
        self.cpu = cpu
        self.options = tuple(options)
        self.show_log = show_log
        self.process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def command(self) -> list[str]:
        options = ["--listen", "127.0.0.1", "--port", str(self.port)]
        options += ["--base-directory", str(self.base.folder)]
        options += ["--extra-model-paths-config", str(self.base.search_paths)]
        options += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes"]
        options += ["--disable-auto-launch", *(["--cpu"] if self.cpu else []), *self.options]
        return [str(self.comfyui.python), str(self.comfyui.folder / "main.py"), *options]

    def __enter__(self) -> Server:
        self.start()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "HF_HUB_OFFLINE": "1",
        }
        environment.pop("PYTHONPATH", None)
        with self.base.log.open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.base.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=None if self.show_log else log,
                stderr=subprocess.STDOUT if not self.show_log else None,
                start_new_session=not self.show_log,
            )

    def wait_until_ready(self, seconds: float = 600.0) -> None:
        """Return when the server answers. Raises DevError with the log's end if it does not."""
        ended = time.monotonic() + seconds
        while time.monotonic() < ended:
            if self.process is not None and self.process.poll() is not None:
                raise DevError(f"ComfyUI ended while starting:\n{self.log_tail()}")
            try:
                with urllib.request.urlopen(f"http://{self.address}/system_stats", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise DevError(f"ComfyUI did not answer within {seconds:.0f} s:\n{self.log_tail()}")

    def stop(self) -> None:
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def log_tail(self, lines: int = 25) -> str:
        if not self.base.log.is_file():
            return ""
        text = self.base.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def link_or_copy(source: Path, target: Path) -> None:
    """Link a file or folder into place; copy it where the system refuses links."""
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        if source.is_dir():
            ignored = shutil.ignore_patterns(".git", "__pycache__", "demo_output")
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy2(source, target)
