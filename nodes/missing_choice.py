"""The choice of what becomes of a name that is not there, alike for both prompt nodes."""

from __future__ import annotations

from comfy_api.latest import io

from ..embeddings_io.composition import ON_MISSING


def missing_input() -> io.Combo.Input:
    """The input `missing`."""
    return io.Combo.Input(
        "missing",
        options=list(ON_MISSING),
        default="error",
        tooltip="What becomes of a name that is not there: an error that suggests "
        "near names, a warning in the report, or it is dropped from the text.",
    )
