"""What may go wrong with a picture that anyone may have made."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

PIXELS_A_BYTE = 64
"""How many pixels a file may claim for each of its bytes, beside a million; noise has a third."""

BROKEN = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for pictures that are broken, of no known kind, or enormous."""


def claims_too_much(picture: Image.Image, size: int) -> bool:
    """True for an opened picture whose file of `size` bytes is far too small for its pixels."""
    return picture.width * picture.height > 2**20 + PIXELS_A_BYTE * size
