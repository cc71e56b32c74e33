"""The command line of dev.py."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from . import checks, child, page
from .cache import Cache, default_folder
from .comfyui import ComfyUI, bundled, existing
from .console import DevError, say
from .environment import layered_python
from .microworld import checkpoint
from .server import PACK


def main(arguments: list[str]) -> int:
    """Run one command; its exit status. Failures are one sentence on standard error."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.command not in ("test", "bench"):
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    if options.command == "test" and rest[:1] == ["--"]:
        rest = rest[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        cache = Cache(options.cache or default_folder())
        return options.run(cache, _comfyui(cache, options), options, rest)
    except DevError as failure:
        print(f"dev.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped. The same command starts again; what was finished is kept.")
        return 130


def _comfyui(cache: Cache, options: argparse.Namespace) -> ComfyUI:
    named = options.comfyui or os.environ.get("COMFYUI_PATH")
    if named:
        return existing(Path(named), options.python)
    return bundled(cache)


def _demo(cache: Cache, comfyui: ComfyUI, options: argparse.Namespace, _: list[str]) -> int:
    command = [str(comfyui.python), "-m", "devtools.demo"]
    command += ["--comfyui", str(comfyui.folder), "--cache", str(cache.folder)]
    command += ["--checkpoint", str(checkpoint(cache, comfyui))]
    command += ["--into", str(Path("demo_output").absolute())]
    command += ["--out", str(options.out.absolute())] if options.out else []
    command += ["--cpu"] if options.cpu else []
    return child.run(command, PACK, os.environ)


def _test(cache: Cache, comfyui: ComfyUI, _: argparse.Namespace, rest: list[str]) -> int:
    return checks.run(cache, comfyui, rest)


def _host(cache: Cache, comfyui: ComfyUI, options: argparse.Namespace, _: list[str]) -> int:
    return page.serve(cache, comfyui, cpu=_on_cpu(comfyui, options), port=options.port)


def _bench(cache: Cache, comfyui: ComfyUI, _: argparse.Namespace, rest: list[str]) -> int:
    python = layered_python(cache, comfyui.python, "bench", PACK / "pyproject.toml")
    environment = {
        **os.environ,
        "COMFYUI_PATH": str(comfyui.folder),
        "TI_CHECKPOINT": str(checkpoint(cache, comfyui)),
        "MALLOC_MMAP_THRESHOLD_": str(2**32),  # small tensors then don't go back to the system
        "MALLOC_TRIM_THRESHOLD_": str(2**34),
    }
    command = [str(python), "-m", "benchmarks", *rest]
    return child.run(command, PACK, environment)


def _on_cpu(comfyui: ComfyUI, options: argparse.Namespace) -> bool:
    return options.cpu or not comfyui.has_accelerator()


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--comfyui",
        metavar="PATH",
        help="use the ComfyUI in this folder instead of fetching one (also: COMFYUI_PATH)",
    )
    shared.add_argument(
        "--python", type=Path, metavar="FILE", help="the Python that runs that ComfyUI"
    )
    shared.add_argument(
        "--cache",
        type=Path,
        metavar="FOLDER",
        help=f"where downloads and environments are kept (also: TI_CACHE; now {default_folder()})",
    )
    shared.add_argument("--cpu", action="store_true", help="do not use the GPU")
    parser = argparse.ArgumentParser(
        prog="dev.py", description="The commands of Textual Inversion."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser(
        "demo", parents=[shared], help="train a word in a real ComfyUI, with pictures"
    )
    demo.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where the results go (demo_output/<time>)"
    )
    demo.set_defaults(run=_demo)
    test = commands.add_parser(
        "test",
        parents=[shared],
        help="run every check; further arguments go to pytest",
    )
    test.set_defaults(run=_test)
    host = commands.add_parser(
        "host", parents=[shared], help="open ComfyUI's page with the nodes installed"
    )
    host.add_argument("--port", type=int, help="the page's port (a free one)")
    host.set_defaults(run=_host)
    bench = commands.add_parser(
        "bench", parents=[shared], help="compare recipes; further arguments go to the benchmark"
    )
    bench.set_defaults(run=_bench)
    return parser
