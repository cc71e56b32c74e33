"""A prompt node that waits for whatever in its workflow writes the embeddings it names."""

from comfy_api.latest import io

from ..embeddings_io.library import Library
from ..embeddings_io.prompt import referenced_names
from ..host.running_prompt import WAIT_FOR, waiting

OUTPUTS = 2
"""Every prompt node gives its result and a report."""


def wait_for_input():
    """The socket that only makes a node wait; the node wires it itself where that is needed."""
    return io.AnyType.Input(
        WAIT_FOR,
        optional=True,
        tooltip="Anything. The node runs after it. Nodes of this pack that save an embedding which "
        "the text names are waited for without a wire.",
    )


def wait_first(
    node: type[io.ComfyNode],
    text: str,
    library: Library,
    keywords: list[str],
    library_keywords: bool,
) -> io.NodeOutput | None:
    """The node again, behind the next node that writes one of its names; None if there is none."""
    dynamic = node.hidden.dynprompt if node.hidden else None
    if dynamic is None:
        return None
    names = referenced_names(text, library, keywords, library_keywords=library_keywords)
    found = waiting(dynamic, node.hidden.unique_id, names or [], OUTPUTS)
    return io.NodeOutput(*found[1], expand=found[0]) if found else None
