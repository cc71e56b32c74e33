"""ComfyUI's HTTP API, as a headless program uses it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .websocket import WebSocket

ENDINGS = ("execution_success", "execution_error", "execution_interrupted")


class RefusedError(Exception):
    """The server refused a request; ``status`` and the decoded ``answer`` say why."""

    def __init__(self, status: int, answer: Any) -> None:
        super().__init__(f"HTTP {status}: {answer}")
        self.status = status
        self.answer = answer


@dataclass
class Run:
    """One executed workflow: how it ended, its messages, and the outputs of its nodes."""

    prompt_id: str
    ending: str
    messages: list[tuple[str, dict]] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)
    outputs: dict[str, dict] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        return self.ending == "execution_success"

    @property
    def error(self) -> str:
        """The message of the node that failed, or an empty string."""
        for kind, data in self.messages:
            if kind == "execution_error":
                return str(data.get("exception_message", "")).strip()
        return ""

    @property
    def failed_node(self) -> str:
        return next((d["node_id"] for k, d in self.messages if k == "execution_error"), "")


class Client:
    """Talks to the server at ``address`` ("127.0.0.1:8188")."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client_id = uuid.uuid4().hex

    def get(self, path: str, **query: str) -> Any:
        data = self._request(path + ("?" + urllib.parse.urlencode(query) if query else ""))
        return json.loads(data) if data else None

    def get_bytes(self, path: str, **query: str) -> bytes:
        return self._request(path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path: str, body: dict) -> Any:
        data = self._request(path, json.dumps(body).encode(), "application/json")
        return json.loads(data) if data else None

    def defaults(self, node: str) -> dict[str, Any]:
        """The default of every input of a node that has one."""
        inputs = self.get(f"/object_info/{node}")[node]["input"]
        entries = {**inputs.get("required", {}), **inputs.get("optional", {})}
        options = {name: entry[1] for name, entry in entries.items() if len(entry) > 1}
        return {name: o["default"] for name, o in options.items() if "default" in o}

    def upload(self, name: str, picture: bytes, subfolder: str = "") -> str:
        """Upload a picture to the input folder; the name that LoadImage then knows it by."""
        edge = uuid.uuid4().hex
        fields = {"overwrite": "true", "type": "input", "subfolder": subfolder}
        body = b"".join(
            f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        )
        body += (
            f'--{edge}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
            "Content-Type: image/png\r\n\r\n"
        ).encode()
        body += picture + f"\r\n--{edge}--\r\n".encode()
        stored = json.loads(
            self._request("/upload/image", body, f"multipart/form-data; boundary={edge}")
        )
        return "/".join(part for part in (stored["subfolder"], stored["name"]) if part)

    def picture(self, image: dict) -> bytes:
        """A picture of a run's outputs: ``{"filename", "subfolder", "type"}`` to PNG bytes."""
        return self.get_bytes("/view", **image)

    def interrupt(self) -> None:
        self.post("/interrupt", {})

    def queue(self, workflow: dict) -> str:
        """Post a workflow in API format. Raises RefusedError if it is not valid."""
        body = {"prompt": workflow, "client_id": self.client_id, "prompt_id": str(uuid.uuid4())}
        return self.post("/prompt", body)["prompt_id"]

    def run(
        self,
        workflow: dict,
        *,
        watch: Callable[[str, dict], None] | None = None,
        timeout: float = 600.0,
    ) -> Run:
        """Post a workflow and follow it on the websocket until it ends.

        ``watch(kind, data)`` sees every message of this run. Raises RefusedError if the
        workflow is not valid and TimeoutError if it does not end in ``timeout`` seconds.
        """
        socket = WebSocket(self.address, f"/ws?clientId={self.client_id}")
        try:
            run = Run(self.queue(workflow), "")
            deadline = time.monotonic() + timeout
            while run.ending not in ENDINGS:
                message = socket.receive(max(0.01, deadline - time.monotonic()))
                if isinstance(message, bytes):
                    run.previews.append(message)
                    continue
                event = json.loads(message)
                kind, data = event.get("type", ""), event.get("data") or {}
                if data.get("prompt_id", run.prompt_id) != run.prompt_id:
                    continue
                run.messages.append((kind, data))
                if watch is not None:
                    watch(kind, data)
                if data.get("prompt_id") == run.prompt_id:
                    run.ending = kind
        finally:
            socket.close()
        if run.succeeded:
            run.outputs = self.history(run.prompt_id)["outputs"]
        return run

    def history(self, prompt_id: str, timeout: float = 20.0) -> dict:
        """A run's history entry; the server may write it a moment after the run's end."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            entry = self.get(f"/history/{prompt_id}").get(prompt_id)
            if entry is not None:
                return entry
            time.sleep(0.05)
        raise TimeoutError(f"no history of run {prompt_id} after {timeout:.0f} s")

    def _request(self, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        request = urllib.request.Request(f"http://{self.address}{path}", data=body)
        if kind:
            request.add_header("Content-Type", kind)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            try:
                answer = json.loads(text)
            except ValueError:
                answer = text
            raise RefusedError(error.code, answer) from None
