"""Records how the ComfyUI of COMFYUI_PATH reads the table's prompts, and writes the document.

COMFYUI_PATH=... python -m tests.host.conformance 0.33
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from .readings import DOCUMENT, HERE, HOSTS, document


def main() -> None:
    version = sys.argv[1]
    assert version in HOSTS
    sys.path.insert(0, os.environ["COMFYUI_PATH"])
    from comfy.cli_args import args

    args.cpu = True
    from .reader import core_readings, meant_readings, tokenizers

    with tempfile.TemporaryDirectory() as folder:
        part = tokenizers(Path(folder)).clip_l
        for name, readings in ((version, core_readings(part)), ("meant", meant_readings(part))):
            label = name if name == "meant" else f"comfyui-{name}"
            text = json.dumps(readings, indent=1, ensure_ascii=False) + "\n"
            HERE.joinpath(f"{label}.json").write_text(text, encoding="utf-8")
    if all((HERE / f"comfyui-{name}.json").exists() for name in HOSTS):
        DOCUMENT.write_text(document(), encoding="utf-8")


if __name__ == "__main__":
    main()
