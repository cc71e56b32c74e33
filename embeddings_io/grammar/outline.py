"""Shows where in a prompt a name stands."""

from __future__ import annotations

import re

MOST = 60
"""Characters of the prompt's line that are shown."""


def outlined(text: str, written: str) -> str:
    """The line of `text` that holds `written`, and below it a line of carets; '' if none does."""
    found = re.search(re.escape(written), text)
    if found is None:
        return ""
    first = text.rfind("\n", 0, found.start()) + 1
    last = text.find("\n", found.start())
    line = text[first : last if last >= 0 else len(text)].replace("\t", " ")
    start, length = found.start() - first, len(written.split("\n")[0])
    if len(line) > MOST:
        cut = max(0, min(start - (MOST - length) // 2, len(line) - MOST))
        line, start = line[cut : cut + max(MOST, length)], start - cut
    return f"  {line}\n  {' ' * start}{'^' * length}"
