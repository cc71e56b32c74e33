"""Shows where in a prompt a name stands."""

from __future__ import annotations

import re

MOST = 60
"""Characters of the prompt's line that are shown."""

OPEN, CLOSE = ">>>", "<<<"


def outlined(text: str, written: str) -> str:
    """The line of `text` that holds `written`, which is put between marks; '' if none does.

    The marks stand within the line, since the page's error dialogs centre their text and set it in
    a proportional font, so that nothing on a line of its own would stand below the name.
    """
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
    end = start + length
    return f"  {line[:start]}{OPEN}{line[start:end]}{CLOSE}{line[end:]}"
