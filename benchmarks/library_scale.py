"""Finding embeddings among ten thousand: the library, and ComfyUI's walk at every reference.

Same folder, same names, one process. The files are real (one vector each), in 500 sub-folders.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from microworld.learning import _pack
from microworld.sampler import host_nodes

_pack()

from textual_inversion.embeddings_io import prompt as prompts  # noqa: E402
from textual_inversion.embeddings_io.library import Library  # noqa: E402
from textual_inversion.embeddings_io.safetensors_bytes import to_bytes  # noqa: E402

FILES = 10_000
FOLDERS = 500
REFERENCES = 20
WIDTH = 768
LONG_AGO = 1_600_000_000


@dataclass(frozen=True)
class Scale:
    """Seconds, medians where there were several; bytes of the library's own objects."""

    files: int
    folders: int
    first_index: float
    index_bytes: int
    facts_bytes: int
    resolve: float
    resolve_after_change: float
    new_file: float
    suggest: float
    facts: float
    facts_again: float
    prompt: float
    prompt_processor: float
    prompt_after_change: float
    comfyui_walk: float
    comfyui_look_up: float
    comfyui_prompt: float


def measure(comfyui: Path, files: int = FILES, folders: int = FOLDERS) -> Scale:
    """Builds the folder, then times everything on it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        names = fill(folder, files, folders)
        first_index = _seconds(lambda: Library([folder]).index())
        index_bytes, facts_bytes = _memory(folder, names)
        random.Random(0).shuffle(names)
        text = ", ".join(f"embedding:{name}" for name in names[:REFERENCES])
        library = Library([folder])
        library.index()
        host = _Host(comfyui, folder)
        return Scale(
            files=files,
            folders=folders,
            first_index=first_index,
            index_bytes=index_bytes,
            facts_bytes=facts_bytes,
            resolve=_each(library.resolve, names[:2000]),
            resolve_after_change=_each(lambda name: library.index().find(name), names[:50]),
            suggest=_each(library.suggest, [f"{name[:-2]}x" for name in names[:9]]),
            facts=_each(library.facts, names[:500]),
            facts_again=_each(library.facts, names[:500]),
            prompt=_each(lambda text: prompts.expand_prompt(text, library), [text] * 15),
            prompt_processor=_each(
                lambda text: prompts.expand_prompt(text, library), [text] * 15, time.process_time
            ),
            new_file=_new_file(library, folder, names),
            prompt_after_change=_each(
                lambda text: prompts.expand_prompt(text, library), [text] * 15
            ),
            comfyui_walk=_each(lambda _: host.walk(), range(9)),
            comfyui_look_up=_each(host.look_up, names[:REFERENCES]),
            comfyui_prompt=_each(host.tokenise, [text.replace(",", " ")] * 3),
        )


def fill(folder: Path, files: int, folders: int) -> list[str]:
    """Writes the files, old ones, spread evenly over the sub-folders; their names."""
    words = ["cat", "dog", "lake", "barn", "mist", "vase", "glow", "fern", "dusk", "opal"]
    names = [
        f"{words[n % folders % 10]}-{n % folders:03}/{words[n % 10]}_{n:05}" for n in range(files)
    ]
    places = {folder / name.partition("/")[0] for name in names}
    for place in places:
        place.mkdir()
    content = to_bytes({"emb_params": torch.full((1, WIDTH), 0.01)}, {})
    for name in names:
        path = folder / f"{name}.safetensors"
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
    for place in (folder, *places):
        os.utime(place, (LONG_AGO, LONG_AGO))
    return names


class _Host:
    """ComfyUI's own look-up, imported from its folder."""

    def __init__(self, comfyui: Path, folder: Path) -> None:
        host_nodes(comfyui)
        from comfy import sd1_clip

        self.module = sd1_clip
        self.folder = str(folder)
        self.tokenizer = sd1_clip.SDTokenizer(embedding_directory=[self.folder])

    def walk(self) -> Sequence[str]:
        """The listing of all sub-folders, once."""
        return self.module.expand_directory_list([self.folder])

    def look_up(self, name: str) -> object:
        """One reference: walk, look into every sub-folder, read the file."""
        found = self.module.load_embed(name, [self.folder], WIDTH, "clip_l")
        assert found is not None
        return found

    def tokenise(self, text: str) -> object:
        """A prompt for one text encoder; SDXL does it twice."""
        return self.tokenizer.tokenize_with_weights(text)


def _memory(folder: Path, names: Sequence[str]) -> tuple[int, int]:
    tracemalloc.start()
    library = Library([folder])
    library.index()
    index = tracemalloc.get_traced_memory()[0]
    for name in names:
        library.facts(name)
        library.file_hash(name)
    facts = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return index, facts


def _new_file(library: Library, folder: Path, names: Sequence[str]) -> float:
    """From a new file on the disk to its being found."""
    times = []
    for number, name in enumerate(names[:15]):
        place = name.partition("/")[0]
        source = folder / f"{name}.safetensors"
        (folder / place / f"new_{number}.safetensors").write_bytes(source.read_bytes())
        times.append(_seconds(lambda: library.resolve(f"new_{number}")))  # noqa: B023
    return median(times)


def _seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    call()
    return clock() - started


def _each(
    call: Callable[[object], object],
    arguments: Sequence[object],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    return median(_seconds(lambda: call(argument), clock) for argument in arguments)  # noqa: B023


def table(found: Scale) -> str:
    """Markdown: what was asked for, what was measured, and the ratios to ComfyUI."""
    rows = [
        ("first index", "< 1 s", _time(found.first_index), ""),
        ("a name, warm", "< 50 us", _time(found.resolve), found.comfyui_look_up / found.resolve),
        (
            "a name, every sub-folder checked for changes",
            "",
            _time(found.resolve_after_change),
            found.comfyui_look_up / found.resolve_after_change,
        ),
        (
            f"a prompt with {REFERENCES} references",
            "< 2 ms",
            _time(found.prompt),
            found.comfyui_prompt / found.prompt,
        ),
        ("the same, processor time", "< 2 ms", _time(found.prompt_processor), ""),
        (
            "the same, within three seconds of a change in a folder",
            "",
            _time(found.prompt_after_change),
            found.comfyui_prompt / found.prompt_after_change,
        ),
        ("a file that has just been put there", "", _time(found.new_file), ""),
        ("near names for a wrong one", "", _time(found.suggest), ""),
        ("facts of a file, first time", "", _time(found.facts), ""),
        ("facts of a file, again", "", _time(found.facts_again), ""),
        ("memory of the index", "< 20 MB", f"{found.index_bytes / 1e6:.1f} MB", ""),
        ("memory with all facts and hashes", "< 20 MB", f"{found.facts_bytes / 1e6:.1f} MB", ""),
    ]
    lines = [
        f"{found.files} files in {found.folders} sub-folders; Python {sys.version.split()[0]}. "
        f"ComfyUI: {_time(found.comfyui_walk)} for a walk, {_time(found.comfyui_look_up)} for a "
        f"name with its file read, {_time(found.comfyui_prompt)} for the prompt.",
        "",
        "| | target | measured | times faster than ComfyUI |",
        "|---|---|---|---|",
    ]
    for what, target, measured, ratio in rows:
        lines.append(f"| {what} | {target} | {measured} | {ratio and f'{ratio:.0f}'} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    unit, scale = next(
        (unit, scale) for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)) if seconds * scale > 1
    )
    return f"{seconds * scale:.3g} {unit}"
