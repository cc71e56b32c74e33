"""Embedding files at the command line: list, convert, edit, bundle."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from . import formats, metadata
from .console import complain, say, table, with_progress
from .conversion import FAILED, OUTCOMES, WOULD_WRITE, convert_each, sources
from .editing import edit_metadata
from .embedding import EmbeddingError
from .facts import facts
from .thumbnails import covered, opened

STOPPED = 130


def main(arguments: Sequence[str]) -> int:
    """Run one command; 0 if all went well, 1 if a file failed, 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except EmbeddingError as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain("\nStopped; the files written so far are whole.")
        return STOPPED


def _convert(options: argparse.Namespace) -> int:
    found = sources(options.paths)
    outcomes = list(
        with_progress(
            convert_each(
                found,
                options.to,
                options.into,
                overwrite=options.overwrite,
                dry_run=options.dry_run,
            ),
            len(found),
            shown=_shows_progress(options),
        )
    )
    for one in outcomes:
        if one.outcome == FAILED:
            say(f"{one.source.path}: {one.problem}")
        elif options.verbose or one.outcome == WOULD_WRITE:
            say(f"{one.source.path} -> {', '.join(map(str, one.files))} ({one.outcome})")
    counts = Counter((one.label, one.outcome) for one in outcomes)
    labels = sorted({one.label for one in outcomes})
    shown = [name for name in OUTCOMES if any(one.outcome == name for one in outcomes)]
    rows = [[label, *(str(counts[label, name]) for name in shown)] for label in labels]
    total = [str(sum(counts[label, name] for label in labels)) for name in shown]
    say("\n" + table([["format", *shown], *rows, ["all", *total]]) if rows else "No files.")
    return int(any(one.outcome == FAILED for one in outcomes))


def _list(options: argparse.Namespace) -> int:
    found = sources(options.paths)
    told = [
        (source, facts(source.path))
        for source in with_progress(found, len(found), shown=_shows_progress(options))
    ]
    if options.json:
        entries = [
            {
                "name": source.name,
                "file": str(source.path),
                "format": fact.label,
                "encoders": {key: [count, width] for key, count, width in fact.shapes},
                "made_for": fact.made_for if fact.shapes else "",
                "title": fact.title,
                "trigger_words": fact.trigger,
                "base_model": fact.base_model,
                "problem": fact.problem,
            }
            for source, fact in told
        ]
        say(json.dumps(entries, indent=1, ensure_ascii=False))
        return int(any(fact.problem for _, fact in told))
    rows = [
        [
            source.name,
            str(fact.num_vectors),
            ", ".join(f"{key} {width}" for key, _, width in fact.shapes),
            fact.made_for,
            fact.label,
        ]
        for source, fact in told
        if not fact.problem
    ]
    if rows:
        say(table([["name", "vectors", "encoders", "made for", "format"], *rows]))
    for source, fact in told:
        if fact.problem:
            say(f"{source.path}: {fact.problem}")
    say(f"{len(rows)} embeddings, {len(told) - len(rows)} other files")
    return 0


def _edit(options: argparse.Namespace) -> int:
    texts = dict(_pair(text) for text in options.set)
    texts |= dict.fromkeys(options.remove, metadata.REMOVED)
    picture = opened(options.picture) if options.picture else None
    if options.picture and picture is None:
        raise EmbeddingError(f"{options.picture} is no picture.")
    for path in options.paths:
        changed = edit_metadata(path, lambda said: covered(metadata.edited(said, texts), picture))
        say("\n".join([f"{path}:", *(f"  {line}" for line in metadata.told(changed))]))
    return 0


def _bundle(options: argparse.Namespace) -> int:
    embeddings = [one for path in options.embeddings for one in formats.read_many(path)]
    path = formats.lora_bundle.write(
        options.lora, embeddings, options.into, overwrite=options.overwrite
    )
    say(f"{path} holds {', '.join(formats.lora_bundle.names(path))}")
    return 0


def _pair(text: str) -> tuple[str, str]:
    word, sign, value = text.partition("=")
    if not sign or not value.strip():
        raise EmbeddingError(f"'{text[:80]}' is not of the form word=text, such as author=Ada.")
    return word.strip(), value


def _shows_progress(options: argparse.Namespace) -> bool:
    return sys.stderr.isatty() and not options.quiet


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embeddings_io",
        description="Lists, converts, describes and bundles embeddings. No file is ever executed.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _convert_arguments(commands.add_parser("convert", help="write files in another format"))
    listing = commands.add_parser("list", help="say what files are")
    _paths(listing)
    listing.add_argument("--json", action="store_true", help="everything, for programs")
    listing.add_argument("--quiet", action="store_true", help="no progress bar")
    listing.set_defaults(run=_list)
    edit = commands.add_parser("edit", help="change what safetensors files say about themselves")
    _paths(edit)
    words = ", ".join(metadata.EDITABLE)
    edit.add_argument(
        "--set", action="append", default=[], metavar="WORD=TEXT", help=f"one of {words}"
    )
    edit.add_argument("--remove", action="append", default=[], metavar="WORD", help="take one out")
    edit.add_argument("--picture", type=Path, metavar="FILE", help="thumbnail within the file")
    edit.set_defaults(run=_edit)
    bundle = commands.add_parser("bundle", help="copy a LoRA with embeddings inside")
    bundle.add_argument("lora", type=Path)
    bundle.add_argument("embeddings", type=Path, nargs="+")
    bundle.add_argument("--into", type=Path, required=True, metavar="FILE")
    bundle.add_argument("--overwrite", action="store_true", help="replace that file")
    bundle.set_defaults(run=_bundle)
    return parser


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    _paths(parser)
    parser.add_argument(
        "--to", choices=list(formats.WRITERS), default=formats.DEFAULT, help="default: %(default)s"
    )
    parser.add_argument(
        "--into", type=Path, metavar="FOLDER", help="where to write (beside each file)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--dry-run", action="store_true", help="read everything, write nothing")
    parser.add_argument("--verbose", action="store_true", help="a line for every file")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=_convert)


def _paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH", help="files, or folders with all below them"
    )
