"""Whether memory ran out, by the engine's knowledge and by the host's."""

from __future__ import annotations

import comfy.model_management as management

from ..training import shortage


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out.

    Newer hosts, asked, also clear what the device would tell the next call about it.
    """
    told = _told_by_host(error)
    return shortage.is_out_of_memory(error) or told


def _told_by_host(error: BaseException) -> bool:
    """Hosts that know no class of such errors take any Exception for one; they aren't asked."""
    known = getattr(management, "OOM_EXCEPTION", Exception)
    if known is Exception:
        return False
    asked = getattr(management, "is_oom", None)
    return isinstance(error, known) if asked is None else bool(asked(error))
