"""One room on this node: its state kept up with Redis, its sockets, its sessions.

Events come in through one queue and are handled one after the other, so everybody sees them in
the order of the room's stream. Around every event that changes the room, the state is read anew:
the stage that media forwards by, and the role that a socket sees by, are never older than what is
being told.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from chatroom.errors import ChatroomError, CursorTooOld, RoomNotFound, SessionNotFound
from chatroom.protocol import (
    Caption,
    CaptionsStatusChanged,
    ErrorReply,
    Event,
    HandsChanged,
    InvitationAnswered,
    Invited,
    Presence,
    Removed,
    RoleChanged,
    RoomOver,
    StageChanged,
    Talking,
)
from chatroom.room import Room, admit, connect, role_of
from signaling.connection import (
    CLOSE_ENDED,
    CLOSE_FORBIDDEN,
    CLOSE_GOING_AWAY,
    CLOSE_UNAVAILABLE,
    Connection,
)
from signaling.room_news import MAX_LANGUAGES, RoomNews
from signaling.views import Fanout, cursor_key, reduce_caption

if TYPE_CHECKING:
    from signaling.hub import Hub

_CHANGES_ROOM = (StageChanged, HandsChanged, Invited, InvitationAnswered, Removed, RoomOver)
_MAX_QUEUE = 10_000
_PAGE = 1000
MAX_AGE_S = 2.0
"""How old the state may be that somebody is let in by. Events keep it newer; this is for those
that were lost without anybody noticing."""
_MAX_VIEWS = 100
"""Languages that the latest captions are kept ready in."""
_MAX_LANGUAGES = 40
"""Languages that captions are asked for by this node."""
_AT_ONCE = 100
"""Sockets written to in one turn of the loop; some 10 µs each."""


@dataclass(slots=True)
class Session:
    """One media session of this node."""

    id: str
    room: str
    participant: str
    kind: str
    """publish or listen."""
    ufrag: str | None
    """The client's present ICE user name fragment: tells a restart from a trickle."""
    connected: bool = False
    news: bool = False
    """Whether it reads in the sound."""


class RoomHub:
    """Made by `Hub.open` alone."""

    def __init__(self, hub: Hub, room: Room, cursor: str) -> None:
        self.id = room.room
        self.room = room
        self.cursor = cursor
        """The newest stored event that was handled."""
        self.connections: dict[Connection, None] = {}
        self.sessions: dict[str, Session] = {}
        self._publishing: dict[str, Session] = {}
        """The few of them that publish: joining must not cost the more the fuller the room."""
        self.polls: dict[str, tuple[float, str | None]] = {}
        """Participants who ask over HTTP: until when they count, and what they read."""
        self.talking: tuple[str | None, ...] = ()
        self.listeners = 0
        """Of all nodes, as shown last."""
        self.unused_since: float | None = time.monotonic()
        self._hub = hub
        self._news = RoomNews(room.room)
        self._in_sound: dict[str, set[str]] = {}
        """Sessions that read in the sound, by participant."""
        self._stage: frozenset[str] = frozenset()
        self._muted: dict[str, bool] = {}
        self._queue: asyncio.Queue[tuple[str | None, Event] | None] = asyncio.Queue(_MAX_QUEUE)
        self._lock = asyncio.Lock()
        self._read_at = time.monotonic()
        self._reading: asyncio.Task[Room] | None = None
        self._captions: tuple[str, list[Caption]] = ("", [])
        self._reduced: dict[str | None, list[Caption]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    # ------------------------------------------------------------------- from the bus

    def start(self) -> None:
        """Begin to handle events; media learns the stage."""
        self._tell_media()
        self._task = asyncio.create_task(self._run(), name=f"room {self.id}")

    def on_event(self, cursor: str | None, event: Event) -> None:
        """An event came from Redis."""
        try:
            self._queue.put_nowait((cursor, event))
        except asyncio.QueueFull:
            self.on_gap()

    def on_gap(self) -> None:
        """Events may have been lost: everything since the last handled one is read again."""
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def _run(self) -> None:
        # The flag, because a cancellation can be lost inside a call to Redis that ends in the
        # same turn of the loop.
        while not self._closing:
            item = await self._queue.get()
            try:
                if item is None:
                    await self._catch_up()
                else:
                    await self._handle(*item)
            except ChatroomError as error:
                # Redis is away; what is missed now is caught up with when it is back.
                self._hub.incidents.refuse(error, "room events")
                await asyncio.sleep(1.0)
                self.on_gap()
            except Exception as error:
                self._hub.incidents.report(error, "room events")

    async def _catch_up(self) -> None:
        try:
            while True:
                events = await self._hub.store.events_after(self.id, self.cursor, _PAGE)
                for cursor, event in events:
                    await self._handle(cursor, event)
                if len(events) < _PAGE:
                    return
        except CursorTooOld:
            self.cursor = await self._hub.store.latest_cursor(self.id)
            await self.refresh()
            # Whole lists, so they stand in for everything that was missed but captions.
            await self._broadcast(StageChanged(self.room.stage), None)
            hands = HandsChanged(hands=self.room.hands, total=len(self.room.hands))
            await self._broadcast(hands, None)
        except RoomNotFound:
            await self._handle(None, RoomOver("expired"))

    async def _handle(self, cursor: str | None, event: Event) -> None:
        if cursor is not None:
            if cursor_key(cursor) <= cursor_key(self.cursor):
                return
            if isinstance(event, _CHANGES_ROOM):
                with contextlib.suppress(RoomNotFound):
                    await self.refresh()
            self.cursor = cursor
        if isinstance(event, Talking):
            self.talking = tuple(event.slots)
        await self._broadcast(event, cursor)
        if isinstance(event, Removed):
            await self._put_out(event)
        elif isinstance(event, RoomOver):
            await self._over(event)

    # ------------------------------------------------------------------------- state

    async def refresh(self) -> Room:
        """Read the room again and let media and sockets follow. Raises RoomNotFound."""
        async with self._lock:
            asked = time.monotonic()
            before, self.room = self.room, await self._hub.store.load_room(self.id)
            self._read_at = asked
            if self.room != before:
                self._tell_media()
            # The few whose role the room decides, now or before; the others keep theirs.
            changed = {who for who, _ in _roles(self.room).items() ^ _roles(before).items()}
            for connection in self.connections if changed else ():
                if connection.participant in changed:
                    role = role_of(self.room, connection.participant, connection.claims.role)
                    if connection.set_role(role):
                        connection.reply(RoleChanged(role.value))
            return self.room

    async def current(self) -> Room:
        """The room as it is known here, which costs nothing: read again only where it was not
        for `MAX_AGE_S`, and then once for all who ask. Raises RoomNotFound and Unavailable."""
        if time.monotonic() - self._read_at > MAX_AGE_S:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self.refresh())
                # Looked at, in case everybody who waited has gone.
                self._reading.add_done_callback(lambda read: read.cancelled() or read.exception())
            await asyncio.shield(self._reading)
        return self.room

    async def history(self, cursor: str, language: str | None, count: int) -> list[Caption]:
        """The latest finals as a reader of the language sees them, oldest first. `cursor` is the
        newest stored event's: they are read once for each, however many come to read."""
        if cursor != self._captions[0]:
            async with self._lock:
                if cursor != self._captions[0]:
                    captions = await self._hub.store.captions(self.id, count)
                    self._captions, self._reduced = (cursor, captions), {}
        reduced = self._reduced.get(language)
        if reduced is None:
            if len(self._reduced) >= _MAX_VIEWS:
                self._reduced.clear()
            reduced = [reduce_caption(caption, language) for caption in self._captions[1]]
            self._reduced[language] = reduced
        return reduced

    def _tell_media(self) -> None:
        """Who is on stage and who is muted, at the media port; publishing sessions of people who
        are not on stage any more are closed."""
        media = self._hub.media
        stage = frozenset(member.participant for member in self.room.stage)
        if stage != self._stage:
            media.set_stage(self.id, stage)
        for member in self.room.stage:
            if self._muted.get(member.participant, False) != member.muted:
                media.set_muted(self.id, member.participant, member.muted)
        self._muted = {member.participant: member.muted for member in self.room.stage}
        self._stage = stage
        for session in self.publishing():
            if session.participant not in stage:
                self._hub.spawn(self._hub.hang_up(session.id, "left the stage"))

    def published(self, session: Session) -> None:
        """A publishing session was opened: media must know at once whether it is muted."""
        if self._muted.get(session.participant, False):
            self._hub.media.set_muted(self.id, session.participant, True)

    def remember(self, session: Session) -> None:
        """A session was opened here."""
        self.sessions[session.id] = session
        if session.kind == "publish":
            self._publishing[session.id] = session
        if session.news:
            self._in_sound.setdefault(session.participant, set()).add(session.id)
        self.unused_since = None

    def forget(self, session_id: str) -> None:
        session = self.sessions.pop(session_id, None)
        self._publishing.pop(session_id, None)
        if session is not None and session.news:
            reading = self._in_sound.get(session.participant, set())
            reading.discard(session_id)
            if not reading:
                self._in_sound.pop(session.participant, None)

    def reads(self, participant: str, captions: str | None) -> None:
        """Somebody reads another language: what they read in the sound follows."""
        news = self.news_for(captions or "")
        for session_id in self._in_sound.get(participant, ()):
            with contextlib.suppress(SessionNotFound):
                self._hub.media.set_captions(session_id, news)

    def news_for(self, news: str | None) -> str | None:
        """What may be read in the sound of what somebody wants to: None where too many other
        languages are read there already, or the operator wants none of it."""
        if news is None or not self._hub.settings.news_in_sound:
            return None
        languages = self._hub.media.news_languages(self.id)
        return news if news in languages or len(languages) < MAX_LANGUAGES else None

    def publishing(self, participant: str | None = None) -> list[Session]:
        """This node's publishing sessions, of one participant or of all."""
        sessions = self._publishing.values()
        return [one for one in sessions if participant in (None, one.participant)]

    async def tell_connected(self, participant: str) -> None:
        """Write down whether the participant publishes now. Tried again while Redis is away."""
        for attempt in range(6):
            try:
                async with self._lock:
                    connected = any(s.connected for s in self.publishing(participant))
                    await self._hub.store.update(
                        self.id, partial(connect, participant=participant, connected=connected)
                    )
                return
            except RoomNotFound:
                return
            except ChatroomError as error:
                if error.code != "unavailable":
                    # Moved off the stage while the session was set up.
                    for session in self.publishing(participant):
                        await self._hub.hang_up(session.id, "not on stage")
                    return
                await asyncio.sleep(0.5 * 2**attempt)

    async def forget_lost_publishers(self) -> None:
        """Where this is the only node: nobody publishes whom this node does not know. Puts
        right what a server that was killed left behind."""
        for member in self.room.stage:
            if member.connected and not self.publishing(member.participant):
                await self.tell_connected(member.participant)

    # ----------------------------------------------------------------------- sockets

    async def _broadcast(self, event: Event, cursor: str | None) -> None:
        """Write an event to everybody here who may see it. Who comes while it is written knows
        it from the state or the history."""
        self._news.tell(self._hub.media, self.room, event, cursor)
        fanout = Fanout(event, cursor)
        for number, connection in enumerate(list(self.connections), 1):
            connection.deliver(fanout, cursor)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # sound goes first: it is forwarded on the same loop
        self._hub.encoded += fanout.encoded

    def admit(self, participant: str) -> None:
        """Raises RoomEnded, or Forbidden for somebody who was removed."""
        admit(self.room, participant)

    def add(self, connection: Connection) -> None:
        self.connections[connection] = None
        connection.set_role(role_of(self.room, connection.participant, connection.claims.role))
        self.unused_since = None

    def drop(self, connection: Connection) -> None:
        self.connections.pop(connection, None)

    async def _put_out(self, event: Removed) -> None:
        error = ErrorReply("forbidden", "You were removed from this room.", fatal=True)
        for connection in list(self.connections):
            if connection.participant == event.participant:
                connection.fail(error, CLOSE_FORBIDDEN)
        await self._hub.media.close_participant(self.id, event.participant, "removed")

    async def _over(self, event: RoomOver) -> None:
        error = ErrorReply("room_ended", "This room has ended.", fatal=True)
        # The sound first: the sockets may be thousands, and each is closed by a task.
        await self._hub.media.close_room(self.id, event.reason)
        for number, connection in enumerate(list(self.connections), 1):
            connection.fail(error, CLOSE_ENDED)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)

    # ---------------------------------------------------------------------- presence

    def audience(self, now: float) -> tuple[int, set[str]]:
        """How many people who are not on stage are here, by socket, sound or polling, each
        counted once, and the caption languages read, the most read ones where they are very
        many. `now` on time.monotonic()'s clock."""
        self.polls = {who: poll for who, poll in self.polls.items() if poll[0] > now}
        people = {connection.participant for connection in self.connections}
        people |= {session.participant for session in self.sessions.values()}
        people |= self.polls.keys()
        # A language is any tag: made-up ones must not grow every caption and the work on it.
        read = Counter(self._languages()).most_common(_MAX_LANGUAGES)
        return len(people - self._stage), {language for language, _ in read}

    def _languages(self) -> Iterator[str]:
        yield from filter(None, self._hub.media.news_languages(self.id))
        for connection in self.connections:
            if connection.captions is not None:
                yield connection.captions
        for _, captions in self.polls.values():
            if captions is not None:
                yield captions

    def show_listeners(self, listeners: int) -> None:
        """Tell the count when it is another; who did not keep up gets the newest anyway."""
        if listeners != self.listeners:
            self.listeners = listeners
            self.on_event(None, Presence(listeners))
        for connection in self.connections:
            if connection.behind and connection.keeps_up():
                connection.behind = False
                connection.reply(Presence(listeners))
                connection.reply(Talking(list(self.talking)))

    def repeat_news(self, now: float) -> None:
        """Tell those who came, and read in the sound, what passes."""
        self._news.repeat(
            self._hub.media,
            self.room,
            now,
            Talking(list(self.talking)),
            Presence(self.listeners),
            CaptionsStatusChanged(self._hub.status),
        )

    def in_use(self) -> bool:
        return bool(self.connections or self.sessions or self.polls)

    # ------------------------------------------------------------------------ the end

    async def close(self, going_away: bool) -> None:
        """Stop following the room; with `going_away` tell the sockets that the server ends."""
        self._closing = True
        if self._reading is not None:
            self._reading.cancel()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        code = CLOSE_GOING_AWAY if going_away else CLOSE_UNAVAILABLE
        connections = list(self.connections)
        for connection in connections:
            connection.close(code, "going away")
        if connections:
            await asyncio.gather(*(connection.closed() for connection in connections))


def _roles(room: Room) -> dict[str, str]:
    """Everybody whose role the room itself decides."""
    roles: dict[str, str] = {member.participant: member.role for member in room.stage}
    return roles | dict.fromkeys(room.hosts, "host")
