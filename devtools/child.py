"""A child process in the foreground that does not outlive this one."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a command to its end; its exit status. Ctrl-C and SIGTERM end it too."""
    process = subprocess.Popen(command, cwd=folder, env=dict(environment))
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()  # the terminal has interrupted the child as well
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
