"""A client of the HTTP interface and the WebSocket, as a page would be one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import aiohttp

Json = dict[str, Any]


@dataclass
class Person:
    """Somebody with a token for one room."""

    client: Client
    room: str
    id: str
    token: str

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def command(self, type: str, **fields: Any) -> list[Json]:
        """Over HTTP; the replies."""
        reply = await self.client.session.post(
            f"{self.client.url}/api/rooms/{self.room}/commands",
            json={"type": type, **fields},
            headers=self.auth,
        )
        body = await reply.json(content_type=None)
        assert reply.status == 200, body
        replies: list[Json] = body["replies"]
        return replies

    async def socket(self, captions: str | None = None, cursor: str | None = None) -> Socket:
        """A WebSocket that has said hello; `welcome` is already read."""
        socket = await self.client.connect(self.room)
        await socket.send(type="hello", token=self.token, captions=captions, cursor=cursor)
        socket.welcome = await socket.until("welcome")
        return socket


@dataclass
class Client:
    session: aiohttp.ClientSession
    url: str

    async def create(self, **fields: Any) -> Person:
        """A room, and its host."""
        draft = {"title": "Talk", "languages": ["en"], **fields}
        reply = await self.session.post(f"{self.url}/api/rooms", json=draft)
        body = await reply.json(content_type=None)
        assert reply.status == 201, body
        return Person(self, body["room"]["room"], body["participant"], body["token"])

    async def join(self, room: str, name: str = "Ana", **fields: Any) -> Person:
        reply = await self.session.post(
            f"{self.url}/api/rooms/{room}/participants", json={"name": name, **fields}
        )
        body = await reply.json(content_type=None)
        assert reply.status == 201, body
        return Person(self, room, body["participant"], body["token"])

    async def connect(self, room: str, **options: Any) -> Socket:
        """A WebSocket that has not said anything yet."""
        return Socket(await self.session.ws_connect(f"{self.url}/api/rooms/{room}/ws", **options))


@dataclass
class Socket:
    ws: aiohttp.ClientWebSocketResponse
    welcome: Json = field(default_factory=dict)
    last: str | None = None
    """Cursor of the last stored event seen."""

    async def send(self, **message: Any) -> None:
        await self.ws.send_json(message)

    async def receive(self, timeout_s: float = 10.0) -> Json:
        """The next message, with its cursor as `id` where it has one."""
        message = await self.ws.receive(timeout=timeout_s)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        envelope = message.json()
        if envelope.get("id"):
            self.last = envelope["id"]
        return {**envelope["m"], **({"id": envelope["id"]} if envelope.get("id") else {})}

    async def until(self, type: str, timeout_s: float = 10.0, **fields: Any) -> Json:
        """The next message of a type (with these fields); others are passed over."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.receive(timeout_s)
                if message["type"] == type and all(message.get(k) == v for k, v in fields.items()):
                    return message

    async def settled(self) -> list[Json]:
        """Everything that was on its way before now."""
        await self.send(type="ping", t=42.0)
        found = []
        while (message := await self.receive())["type"] != "pong":
            found.append(message)
        return found

    async def closed(self, timeout_s: float = 10.0) -> int | None:
        """The code with which the server closes; messages until then are passed over."""
        async with asyncio.timeout(timeout_s):
            while (await self.ws.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        return self.ws.close_code

    async def close(self) -> None:
        await self.ws.close()
