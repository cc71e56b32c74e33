"""The workflow that ComfyUI is executing: who writes an embedding in it, and waiting for them.

ComfyUI orders nodes by their wires alone. A prompt that only names an embedding would be encoded
before another branch of the same workflow has trained it, and again not after a new training.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from comfy_execution.graph_utils import GraphBuilder

from ..embeddings_io.names import without_extension

Workflow = Mapping[str, Mapping[str, Any]]

WRITERS = {
    "TI_TrainEmbedding": 1,
    "TI_SaveEmbedding": 0,
    "TI_TrainConcepts": 4,
    "TI_ConvertEmbedding": 1,
}
"""Nodes that write embeddings, each with an output that gives one text, to wait for.

The embedding is called by their input `name`; without one, it may have any name.
"""

WAIT_FOR = "wait_for"
"""The optional input that only makes a node wait."""


def writers_signature(names: Collection[str] | None) -> str:
    """Changes when a node that writes one of `names` does, or anything that it depends on.

    None stands for names that are not known yet.
    """
    found = []
    for workflow, _ in _running():
        for node_id in _writers(workflow, names):
            parts = {one: workflow[one] for one in sorted(_ancestors(workflow, node_id))}
            plain = {
                one: {"class_type": part.get("class_type"), "inputs": part.get("inputs")}
                for one, part in parts.items()
            }
            text = json.dumps([node_id, plain], sort_keys=True, default=str)
            found.append(hashlib.sha256(text.encode()).hexdigest())
    return "\n".join(found)


def waiting(
    dynamic: Any, node_id: str, names: Collection[str], outputs: int
) -> tuple[dict[str, Any], list[list[Any]]] | None:
    """A graph of the same node, made to wait for the next writer of one of `names`, and its links.

    None where nothing is left to wait for: no writer is scheduled in this workflow, all have been
    waited for, or the writer itself needs this node.
    """
    workflow: Workflow = dynamic.get_original_prompt()
    myself = dynamic.get_node(node_id)
    real = dynamic.get_real_node_id(node_id)
    scheduled = _scheduled(workflow)
    writers = [
        one
        for one in _writers(workflow, names)
        if one in scheduled and real not in _ancestors(workflow, one)
    ]
    before = myself["inputs"].get(WAIT_FOR)
    done = writers.index(before[0]) + 1 if _is_link(before) and before[0] in writers else 0
    if done >= len(writers):
        return None
    graph = GraphBuilder()
    again = graph.node(myself["class_type"], **myself["inputs"])
    next_one = writers[done]
    again.set_input(WAIT_FOR, [next_one, WRITERS[workflow[next_one]["class_type"]]])
    return graph.finalize(), [again.out(slot) for slot in range(outputs)]


def upstream(dynamic: Any, node_id: str, input_name: str) -> Iterator[Mapping[str, Any]]:
    """Every node that an input depends on."""
    everything = {one: dynamic.get_node(one) for one in dynamic.all_node_ids()}
    link = dynamic.get_node(node_id)["inputs"].get(input_name)
    if _is_link(link):
        for one in sorted(_ancestors(everything, link[0])):
            yield everything[one]


def _running() -> list[tuple[Workflow, list[str]]]:
    queue = getattr(_server(), "prompt_queue", None)
    items = list(getattr(queue, "currently_running", {}).values())
    return [(item[2], list(item[4])) for item in items]


def _scheduled(workflow: Workflow) -> set[str]:
    outputs = [
        output
        for running, wanted in _running()
        if running.keys() == workflow.keys()
        for output in wanted
    ]
    if not outputs:
        return set(workflow)
    return {one for output in outputs for one in _ancestors(workflow, output)}


def _writers(workflow: Workflow, names: Collection[str] | None) -> list[str]:
    """Ids of the nodes that write one of `names`, or a name that is not known yet, in order."""
    wanted = None if names is None else {_last_part(name) for name in names}
    found = []
    for node_id, node in workflow.items():
        if node.get("class_type") in WRITERS:
            name = node.get("inputs", {}).get("name")
            is_known = isinstance(name, str) and bool(name.strip())
            if wanted is None or not is_known or _last_part(name) in wanted:
                found.append(node_id)
    return sorted(found)


def _last_part(name: str) -> str:
    return without_extension(name.strip().replace("\\", "/")).rpartition("/")[2].casefold()


def _ancestors(workflow: Workflow, node_id: str) -> set[str]:
    """The node itself and every node that it depends on."""
    found: set[str] = set()
    waiting_list = [node_id]
    while waiting_list:
        one = waiting_list.pop()
        if one in found or one not in workflow:
            continue
        found.add(one)
        values = workflow[one].get("inputs", {}).values()
        waiting_list += [value[0] for value in values if _is_link(value)]
    return found


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _server() -> Any:
    """The running server, or None where ComfyUI is used as a library."""
    try:
        from server import PromptServer
    except ImportError:
        return None
    return getattr(PromptServer, "instance", None)
