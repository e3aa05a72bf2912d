"""Live channels over a real Redis: in order, to everybody, and back after a restart."""

import asyncio
import contextlib
import pathlib
import urllib.parse
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from chatroom import keys
from chatroom.bus import FrameBatch, MediaFrame, MediaMessage, SpeakerChanged
from chatroom.errors import RoomNotFound, Unavailable
from chatroom.live import Live
from chatroom.protocol import (
    AnswerInvitation,
    CaptionsStatus,
    Event,
    Invite,
    LeaveStage,
    Presence,
    RaiseHand,
    RoomDraft,
)
from chatroom.redis_server import EmbeddedRedis
from chatroom.redis_settings import RedisSettings
from chatroom.roles import Role
from chatroom.room import Actor
from chatroom.store import Store, connect_redis

DRAFT = RoomDraft("Tea", ["en"])
HOST = Actor("host", "Hana", Role.HOST)
ANN = Actor("ann", "Ann")
FRAME = MediaFrame("n1", "ann", 1, 960, 5, 30, b"\x78opus")


async def until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


class Log:
    """A subscriber that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str | None, Event]] = []
        self.media: list[MediaMessage] = []
        self.statuses: list[CaptionsStatus] = []
        self.gaps = 0

    def event(self, cursor: str | None, event: Event) -> None:
        self.events.append((cursor, event))

    def gap(self) -> None:
        self.gaps += 1


async def test_events_come_in_order_with_their_cursors(store: Store, live: Live) -> None:
    room = (await store.create_room(DRAFT, "host", 0.0)).room
    log = Log()
    await live.subscribe(room, log.event)
    _, stamped = await store.apply(room, ANN, RaiseHand(), 0.0)
    assert await store.publish_live(room, Presence(1)) == 1
    cursor = await store.append(room, Presence(2))
    expected = [*stamped, (None, Presence(1)), (cursor, Presence(2))]
    await until(lambda: len(log.events) == len(expected))
    assert log.events == expected
    assert await store.events_after(room, "0-0") == [stamped[0], expected[-1]]


async def test_rooms_are_apart(store: Store, live: Live) -> None:
    one, two = Log(), Log()
    await live.subscribe("r1", one.event)
    await live.subscribe("r2", two.event)
    for number in range(200):
        await store.publish_live("r1" if number % 2 else "r2", Presence(number))
    await until(lambda: len(one.events) + len(two.events) == 200)
    assert [e for _, e in one.events] == [Presence(n) for n in range(1, 200, 2)]
    assert [e for _, e in two.events] == [Presence(n) for n in range(0, 200, 2)]


async def test_several_subscribers_and_the_last_one_out(store: Store, live: Live) -> None:
    one, two = Log(), Log()
    first = await live.subscribe("r", one.event)
    second = await live.subscribe("r", two.event)
    assert await store.publish_live("r", Presence(1)) == 1  # one connection for both
    await until(lambda: len(one.events) == len(two.events) == 1)
    await live.unsubscribe(first)
    await live.unsubscribe(first)
    await store.publish_live("r", Presence(2))
    await until(lambda: len(two.events) == 2)
    assert len(one.events) == 1
    await live.unsubscribe(second)

    async def nobody() -> None:
        while await store.publish_live("r", Presence(3)):
            await asyncio.sleep(0.005)

    await asyncio.wait_for(nobody(), 20)
    assert len(two.events) == 2
    await live.subscribe("r", one.event)
    assert await store.publish_live("r", Presence(4)) == 1


async def test_leaving_and_joining_at_once_ends_joined(store: Store, live: Live) -> None:
    log = Log()
    for _ in range(20):
        subscription = await live.subscribe("r", log.event)
        leaving = asyncio.create_task(live.unsubscribe(subscription))
        joined = await live.subscribe("r", log.event)
        await leaving
        assert await store.publish_live("r", Presence(1)) == 1
        await live.unsubscribe(joined)


async def test_media_and_notes_on_speakers(store: Store, live: Live) -> None:
    room = (await store.create_room(DRAFT, "host", 0.0)).room
    log = Log()
    await live.subscribe_media(room, log.media.append)
    await store.publish_media(room, [FRAME, FRAME])
    await store.apply(room, ANN, RaiseHand("zh"), 0.0)
    await store.apply(room, HOST, Invite("ann"), 0.0)
    await store.apply(room, ANN, AnswerInvitation(True), 0.0)
    await store.apply(room, ANN, LeaveStage(), 0.0)
    await until(lambda: len(log.media) == 3)
    assert log.media == [
        FrameBatch([FRAME, FRAME]),
        SpeakerChanged("ann", "Ann", "zh", False, False),
        SpeakerChanged("ann", "Ann", "zh", False, False, on_stage=False),
    ]


async def test_captions_status(store: Store, live: Live) -> None:
    log = Log()
    await live.subscribe_status(log.statuses.append)
    status = CaptionsStatus("ready", pairs=["en-pt"])
    await store.set_captions_status(status)
    await until(lambda: bool(log.statuses))
    assert log.statuses == [status]


async def test_garbage_and_failing_subscribers_harm_no_one(
    store: Store, live: Live, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()

    def fails(cursor: str | None, event: Event) -> None:
        raise ZeroDivisionError

    await live.subscribe("r", fails)
    await live.subscribe("r", log.event)
    await redis.execute_command("SPUBLISH", keys.live("r"), b"\xc1 garbage")
    await store.publish_live("r", Presence(1))
    await until(lambda: bool(log.events))
    assert live.bad_messages == 1
    assert "Dropped message 1" in caplog.text
    assert "A subscriber of" in caplog.text


async def test_what_is_no_room_cannot_be_followed(live: Live) -> None:
    with pytest.raises(RoomNotFound):
        await live.subscribe("a}b", Log().event)


async def test_it_comes_back_when_the_connection_is_cut(
    store: Store, live: Live, redis: Redis
) -> None:
    log, other = Log(), Log()
    await live.subscribe("r", log.event, log.gap)
    await live.subscribe_media("r", log.media.append, other.gap)
    await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: log.gaps == other.gaps == 1)
    assert live.connected
    assert live.reconnects == 1
    await store.publish_live("r", Presence(1))
    await store.publish_media("r", [FRAME])
    await until(lambda: bool(log.events and log.media))


async def test_over_tcp_with_a_name_and_a_password(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    """What an operator configures: the server's socket behind a TCP port."""
    await redis.execute_command("ACL", "SETUSER", "op", "on", ">s3cret", "~*", "&*", "+@all")
    path = urllib.parse.unquote(redis_server.url.removeprefix("unix://"))

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_unix_connection(path)
        await asyncio.gather(pump(reader, downstream), pump(upstream, writer))

    proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    try:
        client = connect_redis(RedisSettings(f"redis://op:s3cret@127.0.0.1:{port}/0", timeout_s=10))
        async with contextlib.aclosing(client), contextlib.aclosing(Live(client)) as subject:
            log = Log()
            await subject.subscribe("r", log.event)
            await Store(client, timeout_s=15).publish_live("r", Presence(1))
            await until(lambda: bool(log.events))
        client = connect_redis(RedisSettings(f"redis://op:wrong@127.0.0.1:{port}/0", timeout_s=10))
        async with contextlib.aclosing(client):
            with pytest.raises(Unavailable, match="Authentication"):
                await Store(client, timeout_s=15).ping()
    finally:
        proxy.close()
        await redis.execute_command("ACL", "DELUSER", "op")


async def test_it_survives_a_restart_of_the_server(tmp_path: pathlib.Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    await server.start()
    client = connect_redis(RedisSettings(timeout_s=10), server.url)
    store, live = Store(client, timeout_s=15), Live(client, timeout_s=15)
    try:
        room = (await store.create_room(DRAFT, "host", 0.0)).room
        log = Log()
        await live.subscribe(room, log.event, log.gap)
        cursor = await store.append(room, Presence(1))
        await until(lambda: len(log.events) == 1)

        await server.stop()
        await until(lambda: not live.connected)
        with pytest.raises(Unavailable):
            await store.load_room(room)
        await server.start()
        await until(lambda: live.reconnects > 0)

        # Published where nobody may have heard it: the stream has it, and the gap says to look.
        missed = await store.append(room, Presence(2))
        await until(lambda: log.gaps == 1)
        assert (await store.events_after(room, cursor))[0] == (missed, Presence(2))
        await store.publish_live(room, Presence(3))
        await until(lambda: (None, Presence(3)) in log.events)
    finally:
        await live.aclose()
        await client.aclose()
        await server.stop()


async def test_a_server_that_says_nothing_is_taken_for_dead(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatroom.live.PING_EVERY_S", 0.05)
    subject, log = Live(redis, timeout_s=15), Log()
    await subject.subscribe("r", log.event, log.gap)
    await asyncio.sleep(0.2)
    assert subject.reconnects == 0  # it answers, so silence alone is no reason
    await redis.execute_command("CLIENT", "PAUSE", 400, "ALL")
    await until(lambda: log.gaps == 1)
    assert subject.reconnects >= 1
    await subject.aclose()


async def test_down_is_told_and_leaves_nothing_behind(tmp_path: pathlib.Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    client = connect_redis(RedisSettings(), f"unix://{tmp_path}/redis/redis.sock")
    subject = Live(client, timeout_s=0.2)
    async with contextlib.aclosing(client), contextlib.aclosing(subject):
        log = Log()
        with pytest.raises(Unavailable):
            await subject.subscribe("r", log.event)
        await server.start()
        try:
            subject._timeout_s = 15
            await subject.subscribe("r", log.event)
            await Store(client).publish_live("r", Presence(1))
            await until(lambda: bool(log.events))
            assert len(log.events) == 1
        finally:
            await server.stop()
