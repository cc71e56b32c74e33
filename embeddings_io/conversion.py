"""Reading embeddings of any format and writing them in another, one file or whole folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import formats
from .atomic import place
from .embedding import Embedding, EmbeddingError
from .folder_scan import FolderScan
from .names import CARD_EXTENSIONS, safe_name, without_extension

WRITTEN, WOULD_WRITE, THERE, FAILED = "written", "would be written", "there already", "failed"
OUTCOMES = (WRITTEN, WOULD_WRITE, THERE, FAILED)


@dataclass(frozen=True)
class Source:
    """A file to convert, and the name, with sub-folders, that its embedding gets."""

    path: Path
    name: str
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one embedding, or of a file that none could be read from."""

    source: Source
    label: str
    outcome: str
    files: tuple[Path, ...] = ()
    problem: str = ""


def sources(paths: Sequence[Path]) -> list[Source]:
    """Files as they are named, and every embedding file below folders.

    Raises EmbeddingError for a path that is not there.
    """
    found: list[Source] = []
    for path in paths:
        if path.is_dir():
            scan = FolderScan(path)
            scan.refresh()
            found += [Source(path / file, _named(file), path) for file in scan.files]
        elif path.is_file():
            found.append(Source(path, _named(path.name), path.parent))
        else:
            raise EmbeddingError(f"There is no file or folder {path}.")
    return found


def convert(
    embeddings: Sequence[Embedding], folder: Path, format_name: str, *, overwrite: bool = False
) -> list[Path]:
    """Write every embedding in one format; the files, in order.

    What a format cannot hold is found before the first file is written. Raises EmbeddingError.
    """
    for embedding in embeddings:
        formats.check_writable(embedding, format_name)
    return [
        path
        for embedding in embeddings
        for path in formats.write(embedding.identified(), folder, format_name, overwrite=overwrite)
    ]


def convert_each(
    found: Sequence[Source],
    format_name: str,
    into: Path | None = None,
    *,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Iterator[Outcome]:
    """Convert file after file, into their own folders where `into` is None.

    A file that cannot be read or written is an outcome, not an error; nothing is written in a dry
    run, which reads every file all the same. Names that two sources share go to the first.
    """
    taken: dict[Path, Path] = {}
    for source in found:
        try:
            embeddings = _named_embeddings(source)
            label = _label(source.path)
        except EmbeddingError as error:
            yield Outcome(source, "not an embedding", FAILED, problem=str(error))
            continue
        for embedding in embeddings:
            folder = into or source.folder
            try:
                formats.check_writable(embedding, format_name)
                target = place(folder, embedding.name, formats.WRITERS[format_name].SUFFIX)
                if _is_itself(source.path, target, format_name) or formats.is_written(
                    embedding, folder, format_name
                ):
                    yield Outcome(source, label, THERE, (target,))
                    continue
                _check_free(source, target, taken, overwrite)
                files = [target]
                if not dry_run:
                    files = formats.write(embedding, folder, format_name, overwrite=overwrite)
                outcome = WOULD_WRITE if dry_run else WRITTEN
                yield Outcome(source, label, outcome, tuple(files))
            except EmbeddingError as error:
                yield Outcome(source, label, FAILED, problem=str(error))


def _check_free(source: Source, target: Path, taken: dict[Path, Path], overwrite: bool) -> None:
    owner = taken.setdefault(target, source.path)
    if owner != source.path:
        raise EmbeddingError(f"{source.path.name} would have the name of {owner}; rename one.")
    if target.exists() and not overwrite:
        raise EmbeddingError(f"{target} exists already; give --overwrite to replace it.")


def _is_itself(path: Path, target: Path, format_name: str) -> bool:
    """True for a file that is in this format already and would only be written anew."""
    same = target.exists() and path.samefile(target)
    return same and formats.describe(path).format_name == format_name


def _named_embeddings(source: Source) -> list[Embedding]:
    found = formats.read_many(source.path)
    if len(found) == 1 and found[0].name == safe_name(source.path.name):
        return [found[0].renamed(source.name).identified()]
    return [embedding.identified() for embedding in found]


def _label(path: Path) -> str:
    try:
        return formats.describe(path).label
    except EmbeddingError:
        return "LoRA with embeddings"


def _named(file: str) -> str:
    if file.lower().endswith(CARD_EXTENSIONS):
        file = file.rpartition(".")[0]
    return safe_name(without_extension(file))
