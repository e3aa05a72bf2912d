"""Who is there and who speaks, in Redis: counts and room ids with a time to live, never persons."""

from __future__ import annotations

from collections.abc import Iterable

from chatroom import keys
from chatroom.store_base import StoreBase, text

PRESENCE_TTL_MS = 5000
"""A node repeats its count every second; one that says nothing for this long has nobody."""

SPEAKING_WINDOW_MS = 15_000

_TOUCH = """
local t = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)), ARGV[1])
"""
_SPEAKING = """
local t = redis.call('TIME')
local since = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) - ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. since)
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


class PresenceStore(StoreBase):
    """Part of the store; see `chatroom.store`."""

    async def set_presence(
        self, room: str, node: str, listeners: int, languages: Iterable[str]
    ) -> None:
        """People are on this node: so many listeners, besides those on stage, and all of them
        read these languages. Repeat every second or so; it holds for 5 s, and keeps the room
        from expiring as idle."""
        languages = ",".join(sorted(set(languages)))
        await self._tell_presence(room, node, str(max(0, listeners)), languages)

    async def leave_presence(self, room: str, node: str) -> None:
        """Nobody of the room is on this node any more, neither in the audience nor on stage."""
        await self._tell_presence(room, node, "", "")

    async def _tell_presence(self, room: str, node: str, listeners: str, languages: str) -> None:
        await self._run(
            "presence",
            [
                keys.presence(room),
                keys.state(room),
                keys.events(room),
                keys.captions(room),
                keys.caption_order(room),
            ],
            [node, listeners, languages, PRESENCE_TTL_MS],
        )

    async def audience(self, room: str) -> tuple[int, set[str]]:
        """How many listen and what they read, all nodes together, in one round trip."""
        listeners, nodes = await self._run("audience", [keys.presence(room)])
        languages = {language for node in nodes for language in text(node).split(",") if language}
        return int(listeners), languages

    async def listeners(self, room: str) -> int:
        """How many listen, all nodes together."""
        return (await self.audience(room))[0]

    async def wanted_languages(self, room: str) -> set[str]:
        """The caption languages that somebody in the room reads now."""
        return (await self.audience(room))[1]

    async def touch_speaking(self, room: str) -> None:
        """Media came in this room. Once in a few seconds is enough."""
        async with self._reachable():
            await self.redis.eval(_TOUCH, 1, keys.SPEAKING, room)

    async def speaking_rooms(self) -> list[str]:
        """Rooms with media in the last 15 s, the longest silent first: work for workers."""
        async with self._reachable():
            rooms = await self.redis.eval(_SPEAKING, 1, keys.SPEAKING, SPEAKING_WINDOW_MS)
        return [text(room) for room in rooms]
