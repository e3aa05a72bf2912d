"""What happens now: one subscriber connection a process to Redis's sharded channels.

`Live` calls back on the event loop, in the order of publishing per channel. When the connection
is lost it comes back by itself, subscribes again to everything, and tells every subscriber of the
gap (`on_gap`): what was published in between is lost here, and is in the room's stream
(`Store.events_after`) if it was stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio
from redis import exceptions
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chatroom import bus, keys
from chatroom.errors import BadMessage, Unavailable
from chatroom.protocol import CaptionsStatus, CaptionsStatusChanged, Event
from chatroom.store_base import text

log = logging.getLogger(__name__)

EventCallback = Callable[[str | None, Event], None]
"""Called with the event's cursor (None where it is not stored) and the event."""

MediaCallback = Callable[[bus.MediaMessage], None]
StatusCallback = Callable[[CaptionsStatus], None]
GapCallback = Callable[[], None]

PING_EVERY_S = 10.0
"""A connection on which nothing came for this long is asked for a sign of life; after the same
time again it is taken for dead."""

BACKOFF_S = (0.05, 2.0)
"""First and longest wait between two attempts to connect; doubled in between, with jitter."""

_LOST = (exceptions.RedisError, OSError, TimeoutError, EOFError)


@dataclass(eq=False)
class Subscription:
    """What `Live.unsubscribe` takes."""

    channel: str
    deliver: Callable[[Any], None] = field(repr=False)
    on_gap: GapCallback | None = field(repr=False)


@dataclass(eq=False)
class _Channel:
    name: str
    decode: Callable[[bytes], Any]
    subscriptions: list[Subscription] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Live:
    """Use it from one event loop; `aclose` it in the end."""

    def __init__(self, redis: redis.asyncio.Redis, *, timeout_s: float = 3.0) -> None:
        self._pool = redis.connection_pool
        self._timeout_s = timeout_s
        self._channels: dict[str, _Channel] = {}
        self._connection: AbstractConnection | None = None
        self._asked: deque[_Channel | None] = deque()
        """What the next answers to (S)SUBSCRIBE belong to; None for an unsubscription."""
        self._write = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self.reconnects = 0
        self.bad_messages = 0
        self.failures = 0

    @property
    def connected(self) -> bool:
        """Whether the connection stands and is subscribed to everything asked for."""
        return self._connection is not None and all(
            c.ready.is_set() for c in self._channels.values()
        )

    async def subscribe(
        self, room: str, callback: EventCallback, on_gap: GapCallback | None = None
    ) -> Subscription:
        """Follow a room's events. Whatever is published after this returns is delivered. Raises
        Unavailable where Redis does not answer in time; nothing is subscribed then."""

        return await self._subscribe(
            keys.live(room), bus.decode_event, lambda stamped: callback(*stamped), on_gap
        )

    async def subscribe_media(
        self, room: str, callback: MediaCallback, on_gap: GapCallback | None = None
    ) -> Subscription:
        """Follow a room's sound: batches of frames, and notes on the speakers."""
        return await self._subscribe(keys.media(room), bus.decode_media, callback, on_gap)

    async def subscribe_status(
        self, callback: StatusCallback, on_gap: GapCallback | None = None
    ) -> Subscription:
        """Follow how far the captions are, for all rooms."""

        def deliver(stamped: tuple[str | None, Event]) -> None:
            if isinstance(stamped[1], CaptionsStatusChanged):
                callback(stamped[1].status)

        return await self._subscribe(keys.STATUS_CHANNEL, bus.decode_event, deliver, on_gap)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing more to it, from now on. Doing it twice is harmless."""
        channel = self._channels.get(subscription.channel)
        if channel is None or subscription not in channel.subscriptions:
            return
        channel.subscriptions.remove(subscription)
        if not channel.subscriptions:
            del self._channels[subscription.channel]
            # Where it cannot be sent the connection is lost, and the next has no such channel.
            with contextlib.suppress(*_LOST):
                await self._send("SUNSUBSCRIBE", channel, None)

    async def aclose(self) -> None:
        """Forget every subscription and close the connection."""
        self._channels.clear()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    # ------------------------------------------------------------------------- inside

    async def _subscribe(
        self,
        name: str,
        decode: Callable[[bytes], Any],
        deliver: Callable[[Any], None],
        on_gap: GapCallback | None,
    ) -> Subscription:
        subscription = Subscription(name, deliver, on_gap)
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(name, decode)
            channel.subscriptions.append(subscription)
            self._wanted.set()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(), name="redis-live")
            with contextlib.suppress(*_LOST):  # the reader finds out too, and connects again
                await self._send("SSUBSCRIBE", channel, channel)
        else:
            channel.subscriptions.append(subscription)
        try:
            async with asyncio.timeout(self._timeout_s):
                await channel.ready.wait()
        except BaseException as error:
            await self.unsubscribe(subscription)
            if isinstance(error, TimeoutError):
                raise Unavailable("The store does not answer.", retry_after_s=2) from None
            raise
        return subscription

    async def _send(self, command: str, channel: _Channel, expects: _Channel | None) -> None:
        async with self._write:
            connection = self._connection
            if connection is None:
                return
            self._asked.append(expects)
            async with asyncio.timeout(self._timeout_s):
                await connection.send_command(command, channel.name, check_health=False)

    async def _run(self) -> None:
        """Connect, subscribe, read; for ever."""
        wait, lost = BACKOFF_S[0], False
        while True:
            if not self._channels:
                self._wanted.clear()
                await self._wanted.wait()
            connection = None
            try:
                connection = self._new_connection()
                async with asyncio.timeout(self._timeout_s):
                    await connection.connect()  # type: ignore[no-untyped-call]
                await self._read(connection, lost)
            except _LOST as error:
                stood = self._connection is not None
                if stood:
                    wait = BACKOFF_S[0]
                self.reconnects += 1
                if stood or self.reconnects.bit_count() == 1:
                    log.warning("No connection to Redis: %s", error or type(error).__name__)
                lost = True
            finally:
                self._connection = None
                self._asked.clear()
                for channel in self._channels.values():
                    channel.ready.clear()
                if connection is not None:
                    with contextlib.suppress(*_LOST):
                        await connection.disconnect(nowait=True)
            await asyncio.sleep(wait * random.uniform(0.75, 1.25))
            wait = min(wait * 2, BACKOFF_S[1])

    def _new_connection(self) -> AbstractConnection:
        """One like the pool's, beside it: RESP2, where everything published comes as a plain
        answer; no timeout on reading, since silence is normal here."""
        options = {
            # RESP2 refuses the handlers of a managed service's notifications.
            **{k: v for k, v in self._pool.connection_kwargs.items() if "maint_" not in k},
            "protocol": 2,
            "socket_timeout": None,
            "socket_connect_timeout": self._timeout_s,
            "health_check_interval": 0,
            "decode_responses": False,
            "retry": Retry(NoBackoff(), 0),
        }
        connection: AbstractConnection = self._pool.connection_class(**options)
        return connection

    async def _read(self, connection: AbstractConnection, lost: bool) -> None:
        async with self._write:
            self._connection = connection
            channels = list(self._channels.values())
            self._asked.extend(channels)
            packed = connection.pack_commands([("SSUBSCRIBE", c.name) for c in channels])
            async with asyncio.timeout(self._timeout_s):
                await connection.send_packed_command(packed, check_health=False)
        if lost:
            log.info("Connected to Redis again.")
        unanswered = len(channels) if lost else 0
        asked = False
        for turn in itertools.count():
            answer = await connection.read_response(timeout=PING_EVERY_S, disconnect_on_error=False)
            if answer is None:  # nothing came
                if asked:
                    raise TimeoutError("no sign of life")
                async with self._write:
                    await connection.send_command("PING", check_health=False)
                asked = True
                continue
            asked = False
            if self._take(answer) and unanswered:
                unanswered -= 1
                if not unanswered:
                    self._report_gap(channels)
            if turn % 64 == 63:
                await asyncio.sleep(0)  # a full buffer must not keep the loop from everybody else

    def _take(self, answer: Any) -> bool:
        """Whether it answers a command of ours."""
        match answer:
            case [b"smessage", bytes(name), bytes(data)]:
                if channel := self._channels.get(text(name)):
                    self._deliver(channel, data)
            case [b"ssubscribe", *_] | [b"sunsubscribe", *_]:
                expected = self._asked.popleft() if self._asked else None
                if expected is not None:
                    expected.ready.set()
                return True
        return False

    def _deliver(self, channel: _Channel, data: bytes) -> None:
        try:
            message = channel.decode(data)
        except BadMessage as error:
            self.bad_messages += 1
            if self.bad_messages.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...
                log.warning(
                    "Dropped message %d that is no bus message, on %s: %s",
                    self.bad_messages,
                    channel.name,
                    error,
                )
            return
        for subscription in list(channel.subscriptions):
            self._call(subscription, functools.partial(subscription.deliver, message))

    def _report_gap(self, channels: list[_Channel]) -> None:
        for channel in channels:
            for subscription in list(channel.subscriptions):
                if subscription.on_gap is not None:
                    self._call(subscription, subscription.on_gap)

    def _call(self, subscription: Subscription, what: Callable[[], None]) -> None:
        """One subscriber's failure is its own: the others and the connection go on."""
        try:
            what()
        except Exception:
            self.failures += 1
            if self.failures.bit_count() == 1:
                log.exception("A subscriber of %s failed", subscription.channel)
