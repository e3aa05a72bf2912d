"""Readers of captions for the load generator: thousands of WebSockets that cost little to hold.

A reader introduces itself as the page does and then only looks for the stamp that a measured
caption carries (`stamp`), so that what is measured is the server and not its clients.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import secrets
import time
from urllib.parse import urlsplit

_STAMP = re.compile(rb"stamp (\d{10,20})")


def stamp() -> str:
    """Text for a caption that says when it was made, ns of CLOCK_MONOTONIC."""
    return f"stamp {time.monotonic_ns()}"


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """One client frame (RFC 6455, section 5.2), shorter than 64 KiB."""
    key = secrets.token_bytes(4)
    size = len(payload)
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    repeated = (key * (size // 4 + 1))[:size]
    body = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
    return head + key + body.to_bytes(size, "big")


class Reader(asyncio.Protocol):
    """One WebSocket. `delays_ms` is shared by the readers that are sampled."""

    def __init__(self, path: str, host: str, token: str, language: str) -> None:
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n\r\n"
        ).encode()
        hello = {"type": "hello", "token": token, "captions": language}
        self._hello = masked(json.dumps(hello).encode())
        self._open = False
        self._rest = b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.delays_ms: list[float] | None = None
        self.captions = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._open:
            self._rest += data
            head, end, data = self._rest.partition(b"\r\n\r\n")
            if not end:
                return
            self._rest = b""
            if not head.startswith(b"HTTP/1.1 101"):
                self._fail(ConnectionError(head[:100].decode("latin-1")))
                return
            self._open = True
            assert self.transport is not None
            self.transport.write(self._hello)
        if not self.ready.done() and b'"welcome"' in data:
            self.ready.set_result(None)
        if data and data[0] == 0x89:  # a ping, alone in its packet as aiohttp sends it
            assert self.transport is not None
            self.transport.write(masked(data[2:], 10))
        for found in _STAMP.findall(data):
            self.captions += 1
            if self.delays_ms is not None:
                self.delays_ms.append((time.monotonic_ns() - int(found)) / 1e6)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionError("closed"))

    def _fail(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)


async def connect(url: str, room: str, token: str, language: str) -> Reader:
    """A reader that has been welcomed. Raises OSError or TimeoutError."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    host = parts.hostname or "127.0.0.1"
    _, reader = await loop.create_connection(
        lambda: Reader(f"/api/rooms/{room}/ws", parts.netloc, token, language),
        host,
        parts.port or (443 if parts.scheme == "https" else 80),
        ssl=parts.scheme == "https" or None,
    )
    async with asyncio.timeout(20):
        await reader.ready
    return reader
