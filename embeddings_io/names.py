"""Which names an embedding may carry, so that its reference survives ComfyUI's prompt parser."""

from __future__ import annotations

import re

MAX_LENGTH = 100
FILE_EXTENSIONS = (".safetensors", ".sft", ".pt", ".pt2", ".pth", ".bin", ".ckpt", ".pkl")
"""Endings of files that ComfyUI lists in an embeddings folder."""
CARD_EXTENSIONS = (".png", ".webp")
"""Endings of A1111's picture cards, which ComfyUI does not list."""

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_\-./]")
_RESERVED = {"con", "prn", "aux", "nul"}
_RESERVED |= {f"{port}{digit}" for port in ("com", "lpt") for digit in range(10)}


class EmbeddingError(ValueError):
    """What went wrong with an embedding, where, and the remedy, in one sentence."""


def check_name(name: str, *, subfolders: bool = True) -> None:
    """Raise EmbeddingError unless 'embedding:<name>' can be written in a prompt and on any disk.

    Allowed are letters without accents, digits, '_', '-' and '.', at most 100 characters, and
    '/' between sub-folders unless `subfolders` is False.
    """
    problem = _problem(name, subfolders)
    if problem:
        raise EmbeddingError(f"The embedding name {_quoted(name)} {problem}")


def check_file_name(name: str) -> None:
    """Raise EmbeddingError unless `name`, with '/' for sub-folders, can be a file on any disk."""
    parts = name.split("/")
    bad = set(name) & set('<>:"\\|?*') or {c for c in name if not c.isprintable()}
    odd = any(part.strip(" .") != part or not part or _is_reserved(part) for part in parts)
    if bad or odd or len(name) > MAX_LENGTH:
        raise EmbeddingError(
            f"The file name {_quoted(name)} cannot be used; give at most {MAX_LENGTH} ordinary "
            "characters, with '/' for sub-folders."
        )


def _problem(name: str, subfolders: bool) -> str | None:
    if not name or not name.strip():
        return "is empty; give it a name such as 'my-cat'."
    if len(name) > MAX_LENGTH:
        return f"has {len(name)} characters; at most {MAX_LENGTH} are allowed."
    if "/" in name and not subfolders:
        return "has a '/'; give a plain name without folders."
    bad = sorted(set(_FORBIDDEN.findall(name)))
    if bad:
        shown = " ".join(repr(character) for character in bad[:5])
        return f"has {shown}; use letters without accents, digits, '_', '-' and '.' only."
    return _problem_of_parts(name)


def _problem_of_parts(name: str) -> str | None:
    for part in name.split("/"):
        if not part:
            return "has an empty folder; no '/' at the start, at the end or doubled."
        if part.startswith(".") or part.endswith("."):
            return "has a part that starts or ends with '.'; leave that dot away."
        if _is_reserved(part):
            return f"has the part '{part}', which Windows reserves for a device; choose another."
    if name.lower().endswith(FILE_EXTENSIONS):
        return "ends like a file; leave the extension away."
    if reads_as_number(name):
        return "is a number, which a prompt would read as a weight; add a letter."
    return None


def reads_as_number(text: str) -> bool:
    """True if a prompt would take '(embedding:text)' for a weight, as it does '2' and 'nan'."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def without_extension(name: str) -> str:
    """The name without the ending of an embedding file, if it has one."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot + ending.lower() in FILE_EXTENSIONS else name


def safe_name(text: str) -> str:
    """The nearest allowed name to any text: 'my cat (2).pt' gives 'my_cat_2'."""
    text = without_extension(text.replace("\\", "/"))
    if _problem(text, True) is None:
        return text
    parts = [re.sub(r"[^A-Za-z0-9_\-.]+", "_", part).strip("._") for part in text.split("/")]
    parts = [f"_{part}" if _is_reserved(part) else part for part in parts if part]
    name = "/".join(parts)[-MAX_LENGTH + 1 :].strip("/.") or "embedding"
    return name if _problem(name, True) is None else f"{name.replace('.', '_')}_"


def _is_reserved(part: str) -> bool:
    return part.split(".")[0].lower() in _RESERVED


def _quoted(name: str) -> str:
    shown = name if len(name) <= 40 else f"{name[:37]}..."
    return repr(shown)
