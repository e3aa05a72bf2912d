"""Every room that somebody on this node is in, and what is told to all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from chatroom.errors import ChatroomError, Conflict, SessionNotFound
from chatroom.live import Live, Subscription
from chatroom.protocol import CaptionsStatus, CaptionsStatusChanged
from chatroom.store import Store
from signaling import collector
from signaling.connection import SocketStats
from signaling.problems import Incidents
from signaling.room_hub import RoomHub, Session
from signaling.settings import ServerSettings

log = logging.getLogger(__name__)

PRESENCE_S = 1.0
_MAX_REPLACED = 1000
POLL_COUNTS_S = 10.0
"""How long who asks over HTTP counts as being here."""


class Media(Protocol):
    """What the rooms need of the media port."""

    def set_stage(self, room: str, participants: frozenset[str]) -> None: ...
    def set_muted(self, room: str, participant: str, muted: bool) -> None: ...
    def slots(self, room: str) -> tuple[str | None, ...]: ...
    def set_captions(self, session_id: str, news: str | None) -> None: ...
    def news_languages(self, room: str) -> frozenset[str]: ...
    def bulletin(
        self, room: str, news: str, key: str, body: bytes, *, kept: bool, age_s: float = 0.0
    ) -> None: ...
    async def hang_up(self, session_id: str, reason: str) -> None: ...
    async def close_participant(self, room: str, participant: str, reason: str) -> None: ...
    async def close_room(self, room: str, reason: str) -> None: ...


class Hub:
    """Rooms by id. A room is opened when the first participant here needs it, and forgotten some
    seconds after the last has gone."""

    def __init__(
        self,
        store: Store,
        live: Live,
        node: str,
        settings: ServerSettings,
        incidents: Incidents,
        *,
        only_node: bool,
    ) -> None:
        self.store = store
        self.live = live
        self.node = node
        self.settings = settings
        self.incidents = incidents
        self.stats = SocketStats()
        self.encoded = 0
        """Frames encoded for broadcasts; `stats.frames` says how often they were written."""
        self.rooms: dict[str, RoomHub] = {}
        self.status = CaptionsStatus("off", "No caption worker is running.")
        self.media: Media
        self._only_node = only_node
        self._opening: dict[str, asyncio.Lock] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._status_subscription: Subscription | None = None
        self._replaced: dict[str, None] = {}
        self._presence: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leaving = False
        self._closed = False

    async def start(self, media: Media) -> None:
        """Follow the captions' status and begin to count."""
        self.media = media
        self._status_subscription = await self.live.subscribe_status(self._status_changed)
        await self._learn_status()
        self._presence = asyncio.create_task(self._count(), name="presence")

    async def open(self, room_id: str) -> RoomHub:
        """The room, followed from now on. Raises RoomNotFound and Unavailable."""
        room = self.rooms.get(room_id)
        if room is not None:
            # Who asks is about to enter: the room is not forgotten under their feet.
            room.unused_since = None
            return room
        # One at a time for each room; the lock goes when nobody waits for it.
        lock = self._opening.setdefault(room_id, asyncio.Lock())
        try:
            async with lock:
                room = self.rooms.get(room_id)
                if room is None:
                    room = await self._open(room_id)
                return room
        finally:
            if not lock.locked():
                self._opening.pop(room_id, None)

    async def _open(self, room_id: str) -> RoomHub:
        # The cursor before the state: what falls between is told twice rather than not at all.
        cursor = await self.store.latest_cursor(room_id)
        room = RoomHub(self, await self.store.load_room(room_id), cursor)
        room.listeners = await self.store.listeners(room_id)
        if room.room.ended:
            return room  # nothing happens there any more
        self._subscriptions[room_id] = await self.live.subscribe(
            room_id, room.on_event, room.on_gap
        )
        self.rooms[room_id] = room
        room.talking = self.media.slots(room_id)
        room.start()
        # What happened between reading the cursor and subscribing.
        room.on_gap()
        if self._only_node:
            self.spawn(room.forget_lost_publishers())
        return room

    # ----------------------------------------------------------------------- sessions

    def session(self, session_id: str) -> tuple[RoomHub, Session]:
        """Raises SessionNotFound."""
        for room in self.rooms.values():
            session = room.sessions.get(session_id)
            if session is not None:
                return room, session
        raise SessionNotFound("There is no such session; it may have ended.")

    def note_replaced(self, session_id: str) -> None:
        """The session's participant publishes by a newer one."""
        self._replaced[session_id] = None
        if len(self._replaced) > _MAX_REPLACED:
            del self._replaced[next(iter(self._replaced))]

    def check_replaced(self, session_id: str) -> None:
        """Raises Conflict for the older of two that publish for one participant: were it told
        that it is merely gone it would come anew, and the two replace one another for ever."""
        if session_id in self._replaced:
            raise Conflict("You publish by a newer session now, which has replaced this one.")

    async def hang_up(self, session_id: str, reason: str) -> None:
        """Close a session if it is still there."""
        with contextlib.suppress(SessionNotFound):
            await self.media.hang_up(session_id, reason)

    def polled(self, room: RoomHub, participant: str, captions: str | None) -> None:
        """Somebody asked over HTTP: for a while they count as being here."""
        room.polls[participant] = (time.monotonic() + POLL_COUNTS_S, captions)
        room.unused_since = None

    # ------------------------------------------------------------- what concerns all rooms

    def _status_changed(self, status: CaptionsStatus) -> None:
        if status == self.status:
            return
        self.status = status
        for room in self.rooms.values():
            room.on_event(None, CaptionsStatusChanged(status))

    async def _learn_status(self) -> None:
        # A worker that died says nothing any more; its last word expires.
        self._status_changed(await self.store.captions_status())

    async def _count(self) -> None:
        """Once a second: say who is here, learn the sum, forget rooms that nobody needs."""
        while not self._leaving:
            await asyncio.sleep(PRESENCE_S)
            try:
                await self._learn_status()
                for room in list(self.rooms.values()):
                    await self._count_one(room)
            except ChatroomError as error:
                log.debug("presence: %s", error.message)
            except Exception as error:
                self.incidents.report(error, "presence")

    async def _count_one(self, room: RoomHub) -> None:
        now = time.monotonic()
        listeners, languages = room.audience(now)
        if room.in_use():
            room.unused_since = None
            await self.store.set_presence(room.id, self.node, listeners, languages)
            room.show_listeners(await self.store.listeners(room.id))
            room.repeat_news(now)
            return
        if room.unused_since is None:
            room.unused_since = now
            await self.store.leave_presence(room.id, self.node)
        elif now - room.unused_since >= self.settings.linger_s:
            await self.forget(room)

    async def forget(self, room: RoomHub) -> None:
        """Stop following a room."""
        if self.rooms.get(room.id) is room:
            del self.rooms[room.id]
        subscription = self._subscriptions.pop(room.id, None)
        if subscription is not None:
            await self.live.unsubscribe(subscription)
        await self.media.close_room(room.id, "nobody is here")
        await room.close(going_away=False)
        if not self.rooms:
            collector.tidy()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside; what goes wrong is an incident."""
        if self._closed:
            work.close()
            return
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ChatroomError as error:
            self.incidents.refuse(error, "background")
        except Exception as error:
            self.incidents.report(error, "background")

    # ------------------------------------------------------------------------ the end

    async def say_goodbye(self) -> None:
        """Close every socket: the server ends. New work in the background is refused."""
        self._leaving = True
        if self._presence is not None:
            self._presence.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._presence
        for room in list(self.rooms.values()):
            await room.close(going_away=True)

    async def close(self) -> None:
        """After the media port has closed: write down what it ended, and stop following."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for room in list(self.rooms.values()):
            with contextlib.suppress(ChatroomError):
                await self.store.leave_presence(room.id, self.node)
        self.rooms.clear()
        self._subscriptions.clear()
