"""A websocket client for one server on this machine: RFC 6455, text and binary messages in."""

from __future__ import annotations

import base64
import os
import socket
import struct

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class WebSocket:
    """``WebSocket(address, path)`` connects; ``receive`` gives the next message."""

    def __init__(self, address: str, path: str, timeout: float = 30.0) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=timeout)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._socket.sendall(request.encode())
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0] + b" ":
            raise ConnectionError(f"{address}{path} answered {head.splitlines()[0].decode()}")

    def receive(self, timeout: float | None = None) -> str | bytes:
        """The next message: str for text, bytes for binary.

        Raises TimeoutError if none comes in ``timeout`` seconds, ConnectionError at the end.
        """
        self._socket.settimeout(timeout)
        parts: list[bytes] = []
        kind = 0
        while True:
            final, opcode, payload = self._frame()
            if opcode == PING:
                self._send(PONG, payload)
            elif opcode == CLOSE:
                raise ConnectionError("the server closed the websocket")
            elif opcode != PONG:
                kind = opcode or kind
                parts.append(payload)
                if final:
                    message = b"".join(parts)
                    return message.decode() if kind == TEXT else message

    def close(self) -> None:
        self._socket.close()

    def _frame(self) -> tuple[bool, int, bytes]:
        # Bytes are taken from the buffer only when the frame is whole, so a timeout loses none.
        self._fill(2)
        first, second = self._buffer[0], self._buffer[1]
        length, start = second & 0x7F, 2
        if length == 126:
            self._fill(4)
            length, start = struct.unpack_from(">H", self._buffer, 2)[0], 4
        elif length == 127:
            self._fill(10)
            length, start = struct.unpack_from(">Q", self._buffer, 2)[0], 10
        self._fill(start + length)
        payload = self._buffer[start : start + length]
        self._buffer = self._buffer[start + length :]
        return bool(first & 0x80), first & 0x0F, payload

    def _send(self, opcode: int, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self._socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)

    def _fill(self, count: int) -> None:
        while len(self._buffer) < count:
            self._buffer += self._more()

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server ended the websocket")
        return data
