"""A coverage-guided fuzzer of everything that reads embedding files.

    python tests/fuzz/fuzz_formats.py --minutes 10

It mutates files of every format (the bytes, the parts of torch archives, the JSON of safetensors
headers and of cards) and keeps the mutants that reach a new line transition of embeddings_io. A
mutant fails if a reader raises anything but EmbeddingError, if its message is more than a line, if
it takes longer than --seconds of processor time, or if anything is executed, opened for writing,
connected or imported meanwhile (an audit hook sees that below the level of Python code). Failures
are kept in --failures; the file being tried is kept as `last`, in case the process dies.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import hashlib
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
if "textual_inversion" not in sys.modules:
    _pack = types.ModuleType("textual_inversion")
    _pack.__path__ = [str(ROOT)]
    sys.modules["textual_inversion"] = _pack

from textual_inversion.embeddings_io import facts, formats  # noqa: E402
from textual_inversion.embeddings_io.embedding import EmbeddingError  # noqa: E402
from textual_inversion.tests.fuzz.mutations import mutated  # noqa: E402
from textual_inversion.tests.fuzz.seeds import seeds  # noqa: E402

READERS: tuple[Callable[[Path], object], ...] = (
    formats.describe,
    formats.read,
    formats.read_many,
    formats.lora_bundle.names,
    facts.thumbnail,
)
WATCHED = str(ROOT / "embeddings_io")
EXECUTION = ("exec", "compile", "subprocess.", "os.", "ctypes.", "socket.", "shutil.", "pickle.")
HARMLESS = ("os.listdir", "os.scandir", "os.fwalk", "os.walk")


class Trace:
    """The line transitions of the watched package, each once."""

    def __init__(self) -> None:
        self.seen: set[tuple[object, int, int]] = set()
        self.new = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Trace what is called within."""
        self.new = False
        sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(None)

    def _entered(self, frame: types.FrameType, event: str, argument: object) -> object:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        code, before = frame.f_code, 0

        def stepped(frame: types.FrameType, event: str, argument: object) -> object:
            nonlocal before
            edge = (code, before, frame.f_lineno)
            if edge not in self.seen:
                self.seen.add(edge)
                self.new = True
            before = frame.f_lineno
            return stepped

        return stepped


class Watch:
    """An audit hook that notes everything beyond reading files. It can't be taken off again."""

    def __init__(self) -> None:
        self.active = False
        self.noted: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "open" and isinstance(arguments[2], int):
            if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.noted.append(f"open for writing: {arguments[0]}")
        elif event == "import":
            self.noted.append(f"import {arguments[0]}")
        elif event.startswith(EXECUTION) and event not in HARMLESS:
            self.noted.append(event)


class Fuzzer:
    """Mutates, tries, keeps what is new, counts."""

    def __init__(self, seed: int, failures: Path, seconds: float) -> None:
        self.random = random.Random(seed)
        self.failures = failures
        self.seconds = seconds
        self.trace = Trace()
        self.watch = Watch()
        self.corpus: list[tuple[str, bytes]] = []
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.failed: collections.Counter[str] = collections.Counter()
        self.executed = 0
        self.slowest = 0.0
        self.runs = 0
        self.memory = 0

    def load(self) -> None:
        """Every seed is tried and kept, after late imports are done with."""
        Image.init()
        self.corpus = list(seeds())
        for ending, content in self.corpus:
            path = self.failures / f"last{ending}"
            path.write_bytes(content)
            with contextlib.suppress(EmbeddingError):
                formats.describe(path)
                formats.read(path)
        self.memory = peak_memory()
        for ending, content in self.corpus:
            self.try_one(ending, content)

    def step(self) -> None:
        """One mutant, kept if it reached something new."""
        pick = self.random.random()
        recent = self.corpus[-200:] if pick < 0.5 else self.corpus
        ending, content = self.random.choice(recent)
        _, other = self.random.choice(self.corpus)
        content = mutated(content, other, self.random)
        if self.try_one(ending, content):
            self.corpus.append((ending, content))

    def try_one(self, ending: str, content: bytes) -> bool:
        """Run every reader over the bytes; true if a new transition was seen."""
        self.runs += 1
        path = self.failures / f"last{ending}"
        path.write_bytes(content)
        new = False
        for reader in READERS:
            started = time.process_time()
            self.watch.noted.clear()
            self.watch.active = True
            try:
                with self.trace.running():
                    reader(path)
                self.outcomes["read"] += 1
            except EmbeddingError as error:
                self.outcomes["refused"] += 1
                if "\n" in str(error) or len(str(error)) > 600:
                    self.fail("message", ending, content, str(error))
            except Exception:
                self.fail("exception", ending, content, traceback.format_exc())
            finally:
                self.watch.active = False
            taken = time.process_time() - started
            self.slowest = max(self.slowest, taken)
            if taken > self.seconds:
                self.fail("hang", ending, content, f"{taken:.1f} s")
            if self.watch.noted:
                self.executed += 1
                self.fail("executed", ending, content, "\n".join(self.watch.noted))
            new |= self.trace.new
        return new

    def fail(self, kind: str, ending: str, content: bytes, why: str) -> None:
        """Count a failure, and keep the file of each kind's first twenty."""
        self.failed[kind] += 1
        if self.failed[kind] > 20:
            return
        name = f"{kind}-{hashlib.sha256(content).hexdigest()[:12]}"
        (self.failures / f"{name}{ending}").write_bytes(content)
        (self.failures / f"{name}.txt").write_text(why)
        print(f"{kind}: {name}: {why.strip().splitlines()[-1]}", flush=True)

    def figures(self, minutes: float) -> dict[str, object]:
        """What is written into tests/README.md."""
        return {
            "minutes": round(minutes, 1),
            "files tried": self.runs,
            "reads": sum(self.outcomes.values()) + self.failed["exception"],
            "refused with an EmbeddingError": self.outcomes["refused"],
            "read without an error": self.outcomes["read"],
            "other exceptions": self.failed["exception"],
            "messages of several lines": self.failed["message"],
            "hangs": self.failed["hang"],
            "code executed": self.executed,
            "slowest read, seconds": round(self.slowest, 2),
            "line transitions reached": len(self.trace.seen),
            "corpus": len(self.corpus),
            "memory before, MiB": self.memory,
            "largest memory, MiB": peak_memory(),
        }


def peak_memory() -> int:
    """The most that the process had, in MiB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> int:
    """Fuzz for a while and print the figures; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="a read above this is a hang")
    parser.add_argument("--failures", type=Path, default=None, help="where failing files go")
    options = parser.parse_args()
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as temporary:
        failures = options.failures or Path(temporary)
        failures.mkdir(parents=True, exist_ok=True)
        fuzzer = Fuzzer(options.seed, failures, options.seconds)
        started = time.monotonic()
        fuzzer.load()
        at_start = len(fuzzer.trace.seen)
        while time.monotonic() - started < 60 * options.minutes:
            fuzzer.step()
        figures = fuzzer.figures((time.monotonic() - started) / 60)
    figures["line transitions of the seeds"] = at_start
    print(json.dumps(figures, indent=2))
    return 1 if fuzzer.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
