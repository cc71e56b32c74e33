"""The fuzzer works: it explores, it sees what it has to see, and the readers stand a short run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROBE = """
import sys
from pathlib import Path
sys.argv = ["fuzz", "--minutes", "0.05", "--seed", sys.argv[2]]
sys.path.insert(0, str(Path(PATH) / "tests" / "fuzz"))
import fuzz_formats
{change}
raise SystemExit(fuzz_formats.main())
"""


def fuzz(root: Path, change: str = "") -> subprocess.CompletedProcess[str]:
    program = f"PATH = {str(root)!r}\n" + PROBE.format(change=change)
    return subprocess.run(
        [sys.executable, "-c", program, "x", "3"], capture_output=True, text=True, timeout=300
    )


def test_a_short_run_finds_nothing(root: Path) -> None:
    result = fuzz(root)
    assert result.returncode == 0, result.stdout + result.stderr
    assert '"code executed": 0' in result.stdout and '"other exceptions": 0' in result.stdout


def test_it_sees_a_crash(root: Path) -> None:
    result = fuzz(root, "fuzz_formats.READERS = (lambda path: 1 / 0,)")
    assert result.returncode == 1 and "ZeroDivisionError" in result.stdout


def test_it_sees_code_that_runs(root: Path) -> None:
    careless = "import pickle; fuzz_formats.READERS = (lambda path: eval('1'),)"
    result = fuzz(root, careless)
    assert result.returncode == 1 and "executed" in result.stdout
