"""pip with one line of progress, and one sentence when it fails."""

from __future__ import annotations

import os
import re
import subprocess
from collections import deque
from pathlib import Path

from .console import DevError, Step

_UNREACHABLE = re.compile(
    r"Failed to establish a new connection|Name or service not known|name resolution"
    r"|getaddrinfo failed|nodename nor servname|Network is unreachable|ConnectTimeout"
    r"|Read timed out|No route to host|Connection refused|ProxyError|RemoteDisconnected",
    re.IGNORECASE,
)
_NO_SPACE = re.compile(r"No space left on device|not enough space", re.IGNORECASE)
_ACTIVITY = re.compile(r"^\s*(Collecting|Downloading|Using cached|Installing|Building)\b.*")


def run_pip(python: Path, arguments: list[str], title: str) -> None:
    """Run ``python -m pip ARGUMENTS``.

    Raises DevError with what to do when there is no network, no space, or pip refuses.
    """
    command = [str(python), "-m", "pip", *arguments, "--retries", "2"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    recent: deque[str] = deque(maxlen=400)
    with Step(title) as step:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
        )
        try:
            for line in process.stdout or ():
                recent.append(line.rstrip())
                if _ACTIVITY.match(line):
                    step.update(_shortened(line))
            failed = process.wait() != 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if failed:
            raise DevError(_reason(list(recent)))


def _shortened(line: str) -> str:
    words = line.split()
    if words[0] == "Installing":
        return "installing the packages"
    name = words[1].rsplit("/", 1)[-1].split("-", 1)[0] if len(words) > 1 else ""
    size = re.search(r"\(([\d.]+ [kMG]?B)\)", line)
    return f"{words[0].lower()} {name}" + (f", {size[1]}" if size else "")


def _reason(lines: list[str]) -> str:
    text = "\n".join(lines)
    if _UNREACHABLE.search(text):
        return (
            "The Python package index cannot be reached: check the network connection "
            "and run the same command again; what was finished is kept."
        )
    if _NO_SPACE.search(text):
        return (
            "The disk is full: free about 7 GB, or choose another place with --cache, "
            "and run the same command again."
        )
    errors = [line for line in lines if line.startswith("ERROR:")] or lines[-5:]
    return "pip failed: " + " ".join(errors)
