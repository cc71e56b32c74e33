"""What can be said of an embedding's file without reading its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Description:
    """Format id and label, (vectors, width) by encoder key, metadata, and names.

    A bundle has several names; its shapes and metadata are those of the first.
    """

    format_name: str
    label: str
    shapes: Mapping[str, tuple[int, int]]
    metadata: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
