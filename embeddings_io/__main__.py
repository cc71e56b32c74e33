"""`python -m embeddings_io` in the pack's folder, `python path/to/embeddings_io` anywhere."""

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __package__ = "embeddings_io"

from .command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
