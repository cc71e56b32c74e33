"""``python -m devtools.demo``: run by dev.py with ComfyUI's Python, in the repository."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..cache import Cache
from ..comfyui import ComfyUI
from ..console import DevError, Step, say
from ..server import BaseDirectory, Server, link_or_copy

if TYPE_CHECKING:
    from .driver import Demonstration


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = _new_folder(options.out, options.into)
    comfyui = ComfyUI(options.comfyui, Path(sys.executable))
    say(f"The results go to {out}")
    with Cache(options.cache).private_folder("demo") as folder:
        base = BaseDirectory(folder).prepare()
        server = Server(comfyui, base, cpu=options.cpu or not comfyui.has_accelerator())
        try:
            report = _started(server, options.checkpoint, out).run()
        except DevError as error:
            print(f"dev.py: {error}\nComfyUI's log: {out / 'comfyui.log'}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            say("\nStopped.")
            return 130
        finally:
            server.stop()
            if base.log.is_file():
                shutil.copy2(base.log, out / "comfyui.log")
    _print(report, out)
    return 0


def _started(server: Server, checkpoint: Path, out: Path) -> Demonstration:
    """Start ComfyUI and, while it boots, import what the demonstration needs."""
    with Step("Starting ComfyUI"):
        server.start()
        from .driver import CHECKPOINT, Demonstration

        link_or_copy(checkpoint, server.base.checkpoints / CHECKPOINT)
        server.wait_until_ready()
    return Demonstration(server, out)


def _print(report: dict, out: Path) -> None:
    score = report["score"]
    say(
        f"\nThe word scores {score['learnt']:.2f} (before {score['initializer']:.2f}; "
        f"the best possible words score {score['oracle']:.2f}), "
        f"{report['share_of_oracle']:.0%} of the best."
    )
    say(f"The embedding:     {out / report['file']}")
    say(f"Before and after:  {out / 'before_and_after.png'}")
    say(f"Every picture:     {out / 'pictures'}")
    say(f"The report:        {out / 'report.json'}")


def _new_folder(wanted: Path | None, into: Path) -> Path:
    """A folder that this run alone writes to: ``wanted``, or a new one in ``into``."""
    folder = wanted or into / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    first, number = folder, 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if wanted is not None and not any(folder.iterdir()):
                return folder
            number += 1
            folder = first.with_name(f"{first.name}-{number}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("--comfyui", "--cache", "--checkpoint", "--into"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cpu", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
