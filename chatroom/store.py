"""The store: rooms, their history and what nodes share, in Redis.

Every change of a room is one script that succeeds only where nobody else has changed the room
since it was read, so role changes are atomic across nodes; the same script appends the events to
the room's stream and publishes them on its live channel, so nobody sees one without the other.

Every method raises Unavailable where Redis does not answer within the deadline, and RoomNotFound
for text that cannot be a room's id. `now` is unix time in seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import msgspec
import redis.asyncio

from chatroom import bus, keys
from chatroom.errors import BadMessage, CursorTooOld, RoomNotFound, Unavailable
from chatroom.ids import new_room_id
from chatroom.protocol import Command, Event, RoomDraft
from chatroom.room import Actor, Outcome, Room, apply, new_room
from chatroom.room_settings import RoomSettings
from chatroom.store_base import connect_redis, text
from chatroom.store_captions import CaptionStore
from chatroom.store_leases import LeaseStore
from chatroom.store_presence import PresenceStore

__all__ = ["Store", "connect_redis"]

_ATTEMPTS = 50
"""Tries before a change that others keep overtaking is given up."""

_MAX_ID = (1 << 64) - 1
"""Largest number in either half of a stream's cursor."""

_CROWDED = "The room is being changed by too many at once."

Stamped = tuple[str, Event]
"""A cursor and its event."""


class Store(CaptionStore, PresenceStore, LeaseStore):
    """The store's whole face; captions, presence and leases are in their own modules."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        settings: RoomSettings | None = None,
        *,
        timeout_s: float = 3.0,
    ) -> None:
        """`timeout_s` is the deadline of each call to Redis."""
        super().__init__(redis, settings, timeout_s=timeout_s)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # ------------------------------------------------------------------------- rooms

    async def create_room(self, draft: RoomDraft, host_id: str, now: float) -> Room:
        """A new room under a new id, its host on stage."""
        while True:
            room = new_room(new_room_id(), draft, host_id, now, self.settings)
            if await self._commit(None, 0, room, []) is not None:
                return room

    async def load_room(self, room: str) -> Room:
        """The room now; an ended one too, while it is kept. Raises RoomNotFound."""
        return (await self._load(room))[0]

    async def apply(
        self, room: str, actor: Actor, command: Command, now: float
    ) -> tuple[Room, list[Stamped]]:
        """Carry out a command (`chatroom.room.apply`, whose errors it raises), store what
        happened and tell it to all nodes. The room after it, and the events with their cursors."""
        return await self.update(room, lambda before: apply(before, actor, command, now))

    async def update(
        self, room: str, step: Callable[[Room], Outcome]
    ) -> tuple[Room, list[Stamped]]:
        """The same with any pure step, for example `chatroom.room.connect`. `step` may be called
        several times, each time with a newer room."""
        async with self._turn(room):
            for _ in range(_ATTEMPTS):
                before, version = await self._load(room)
                after, events = step(before)
                if after == before:
                    # Nothing to keep; what there is to say (an invitation repeated) is said.
                    return after, [(await self.append(room, e), e) for e in events]
                cursors = await self._commit(before, version, after, events)
                if cursors is not None:
                    return after, list(zip(cursors, events, strict=True))
        raise Unavailable(_CROWDED, retry_after_s=1)

    # ------------------------------------------------------------------------ events

    async def append(self, room: str, event: Event) -> str:
        """Store an event in the room's stream and publish it. Its cursor. Raises RoomNotFound."""
        cursor = await self._run(
            "append",
            [keys.state(room), keys.events(room), keys.live(room)],
            [self.settings.event_history, bus.encode_event_body(event)],
        )
        if cursor is None:
            raise RoomNotFound("There is no such room.")
        return text(cursor)

    async def publish_live(self, room: str, event: Event) -> int:
        """Tell the nodes that follow the room now; nothing is kept. How many they were."""
        return int(await self._call("SPUBLISH", keys.live(room), bus.encode_event(event)))

    async def publish_media(
        self, room: str, message: bus.MediaMessage | Sequence[bus.MediaFrame]
    ) -> int:
        """Frames of sound, or a note on a speaker, to who follows the room's media now."""
        return int(await self._call("SPUBLISH", keys.media(room), bus.encode_media(message)))

    async def latest_cursor(self, room: str) -> str:
        """The cursor of the newest stored event; "0-0" before the first."""
        answer = await self._run("events_after", [keys.events(room)], ["0-0", 1])
        return text(answer[1])

    async def events_after(self, room: str, cursor: str, limit: int = 1000) -> list[Stamped]:
        """The stored events after `cursor`, oldest first, at most `limit`: ask again from the
        last one's cursor while the answer is full. Raises CursorTooOld where some may be lost
        (trimmed, or the store was set back), and BadMessage for text that is no cursor."""
        at = _parse(cursor)
        if max(at) > _MAX_ID or at == (_MAX_ID, _MAX_ID):
            # Redis takes no such beginning, and no stream has such a cursor.
            raise CursorTooOld("Nothing was ever stored there.")
        first, last, trimmed, entries = await self._run(
            "events_after", [keys.events(room)], [cursor, max(1, limit)]
        )
        if at > _parse(text(last)) or (int(trimmed) > 0 and at < _parse(text(first))):
            raise CursorTooOld("What happened since then is not kept any more.")
        return [(text(id_), bus.decode_event(fields[1])[1]) for id_, fields in entries]

    # ------------------------------------------------------------------------ inside

    @asynccontextmanager
    async def _turn(self, room: str) -> AsyncIterator[None]:
        """One change of a room at a time in this process: a thousand hands raised at once must
        not overtake one another a million times. Across nodes the version decides."""
        lock = self._turns.get(room)
        if lock is None:
            lock = self._turns[room] = asyncio.Lock()
        try:
            async with asyncio.timeout(self.timeout_s):
                await lock.acquire()
        except TimeoutError:
            raise Unavailable(_CROWDED, retry_after_s=1) from None
        try:
            yield
        finally:
            lock.release()

    async def _load(self, room: str) -> tuple[Room, int]:
        version, data = await self._call("HMGET", keys.state(room), "v", "d")
        if data is None:
            raise RoomNotFound("There is no such room.")
        return msgspec.convert(bus.unpack(data, limit=1 << 30), Room), int(version)

    async def _commit(
        self, before: Room | None, version: int, after: Room, events: Sequence[Event]
    ) -> list[str] | None:
        """The events' cursors, or None where somebody else was quicker."""
        settings, id_ = self.settings, after.room
        ttl_s = settings.ended_ttl_s if after.ended else settings.idle_ttl_s
        notes = bus.speaker_changes(before.stage if before else [], after.stage)
        answer = await self._run(
            "commit",
            [
                keys.state(id_),
                keys.events(id_),
                keys.captions(id_),
                keys.caption_order(id_),
                keys.live(id_),
                keys.media(id_),
            ],
            [
                version,
                bus.pack(msgspec.to_builtins(after)),
                after.over or "",
                ttl_s * 1000,
                settings.event_history,
                len(events),
                *(bus.encode_event_body(event) for event in events),
                *(bus.encode_media(note) for note in notes),
            ],
        )
        return None if answer is None else [text(cursor) for cursor in answer[1:]]


def _parse(cursor: str) -> tuple[int, int]:
    ms, _, sequence = cursor.partition("-")
    if not (ms.isascii() and ms.isdigit() and sequence.isascii() and sequence.isdigit()):
        raise BadMessage("A cursor is two numbers with a hyphen between them.")
    return int(ms), int(sequence)
