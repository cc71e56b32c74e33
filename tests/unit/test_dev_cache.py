"""dev.py's cache: whole artefacts only, whoever is interrupted or at work beside us."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from textual_inversion.devtools.cache import STAMP, Cache, default_folder
from textual_inversion.devtools.console import DevError
from textual_inversion.devtools.filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]


def test_an_artefact_is_made_once(tmp_path: Path) -> None:
    calls = []

    def make(staging: Path) -> None:
        calls.append(staging)
        (staging / "content").write_text("whole")

    cache = Cache(tmp_path)
    first = cache.artefact("thing", make)
    assert cache.artefact("thing", make) == first == tmp_path / "thing"
    assert (first / "content").read_text() == "whole"
    assert len(calls) == 1 and not calls[0].exists()


def test_an_interrupted_artefact_is_made_again(tmp_path: Path) -> None:
    def interrupted(staging: Path) -> None:
        (staging / "half").write_text("half")
        raise KeyboardInterrupt

    cache = Cache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.artefact("thing", interrupted)
    assert not (tmp_path / "thing").exists()
    made = cache.artefact("thing", lambda staging: (staging / "whole").touch())
    assert sorted(path.name for path in made.iterdir()) == sorted([STAMP, "whole"])


def test_a_folder_without_stamp_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "old").touch()
    made = Cache(tmp_path).artefact("thing", lambda staging: (staging / "new").touch())
    assert not (made / "old").exists() and (made / "new").exists()


def test_a_killed_maker_leaves_no_lock_and_no_half(tmp_path: Path) -> None:
    program = """
        import os, sys, types, signal
        pack = types.ModuleType("pack"); pack.__path__ = [sys.argv[1]]; sys.modules["pack"] = pack
        from pathlib import Path
        from pack.devtools.cache import Cache
        def make(staging):
            (staging / "half").touch()
            os._exit(9)
        Cache(Path(sys.argv[2])).artefact("thing", make)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(ROOT), str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 9
    assert (tmp_path / "thing.partial" / "half").exists()
    made = Cache(tmp_path).artefact("thing", lambda staging: (staging / "whole").touch())
    assert not (made / "half").exists()


def test_two_makers_at_once_make_it_once(tmp_path: Path) -> None:
    program = """
        import sys, time, types
        pack = types.ModuleType("pack"); pack.__path__ = [sys.argv[1]]; sys.modules["pack"] = pack
        from pathlib import Path
        from pack.devtools.cache import Cache
        def make(staging):
            with open(sys.argv[2] + "/made", "a") as log:
                log.write("x")
            time.sleep(0.7)
        print(Cache(Path(sys.argv[2])).artefact("thing", make))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(ROOT), str(tmp_path)]
    makers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [maker.communicate(timeout=30)[0] for maker in makers]
    assert (tmp_path / "made").read_text() == "x"
    assert all(output.strip().endswith(str(tmp_path / "thing")) for output in outputs)
    assert sum("waiting for it" in output for output in outputs) == 2


def test_a_lock_held_elsewhere_is_refused(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.acquire(wait=False)
    assert not second.acquire(wait=False)
    first.release()
    assert second.acquire(wait=False)
    second.release()


def test_private_folders_differ_and_vanish(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.private_folder("run") as one, cache.private_folder("run") as two:
        assert one != two and one.is_dir() and two.is_dir()
    assert not one.exists() and not two.exists()


def test_the_cache_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TI_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("TI_CACHE")
    assert ROOT not in default_folder().parents


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="needs a POSIX file system")
def test_an_impossible_cache_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DevError, match="--cache or TI_CACHE"):
        Cache(tmp_path / "file" / "cache")
