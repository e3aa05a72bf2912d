"""Rooms in a real Redis: atomic across nodes, history, and what happens when it is down."""

import asyncio
import contextlib
import pathlib
import time

import pytest
import redis as redis_sync
from redis.asyncio import Redis

from chatroom import keys
from chatroom.errors import (
    BadMessage,
    Conflict,
    CursorTooOld,
    Forbidden,
    RoomEnded,
    RoomNotFound,
    StageFull,
    TooManyRequests,
    Unavailable,
)
from chatroom.protocol import (
    AnswerInvitation,
    EndRoom,
    HandsChanged,
    Invite,
    Invited,
    LeaveStage,
    Presence,
    RaiseHand,
    RoomDraft,
    RoomOver,
    StageChanged,
    Talking,
)
from chatroom.redis_server import EmbeddedRedis
from chatroom.redis_settings import RedisSettings
from chatroom.roles import Role
from chatroom.room import Actor, Outcome, Room, connect
from chatroom.room_settings import RoomSettings
from chatroom.store import Store, connect_redis

T0 = 1_700_000_000.0
HOST = Actor("host", "Hana", Role.HOST)
ANN = Actor("ann", "Ann", speaks="zh")
DRAFT = RoomDraft("Tea", ["en", "zh"], "Be kind.", "Hana")


def person(number: int) -> Actor:
    return Actor(f"p{number}", f"P{number}")


async def new(store: Store) -> str:
    return (await store.create_room(DRAFT, "host", T0)).room


async def raise_and_invite(store: Store, room: str, actor: Actor) -> None:
    await store.apply(room, actor, RaiseHand(), T0)
    await store.apply(room, HOST, Invite(actor.participant), T0)


async def test_created_room_can_be_loaded(store: Store) -> None:
    room = await store.create_room(DRAFT, "host", T0)
    assert await store.load_room(room.room) == room
    assert (room.title, room.rules, room.hosts) == ("Tea", "Be kind.", ["host"])
    assert await store.latest_cursor(room.room) == "0-0"
    assert await store.events_after(room.room, "0-0") == []


@pytest.mark.parametrize("room", ["nowhere", "a}b", ""])
async def test_unknown_room(store: Store, room: str) -> None:
    with pytest.raises(RoomNotFound):
        await store.load_room(room)
    with pytest.raises(RoomNotFound):
        await store.apply(room, HOST, EndRoom(), T0)
    with pytest.raises(RoomNotFound):
        await store.append(room, Presence(1))


async def test_apply_stores_the_room_and_its_events(store: Store) -> None:
    room = await new(store)
    after, events = await store.apply(room, ANN, RaiseHand(), T0 + 2)
    assert await store.load_room(room) == after
    assert after.hands[0].raised_ms == 2000
    assert [event for _, event in events] == [HandsChanged(after.hands, 1)]
    assert await store.events_after(room, "0-0") == events
    assert await store.latest_cursor(room) == events[-1][0]


async def test_events_after_a_cursor(store: Store) -> None:
    room = await new(store)
    cursors = [await store.append(room, Talking([str(n)])) for n in range(5)]
    assert [c for c, _ in await store.events_after(room, cursors[1])] == cursors[2:]
    assert [c for c, _ in await store.events_after(room, cursors[1], limit=2)] == cursors[2:4]
    assert await store.events_after(room, cursors[-1]) == []


async def test_refused_command_changes_nothing(store: Store) -> None:
    room = await new(store)
    before = await store.load_room(room)
    with pytest.raises(Forbidden):
        await store.apply(room, ANN, EndRoom(), T0)
    assert await store.load_room(room) == before
    assert await store.latest_cursor(room) == "0-0"


async def test_what_is_only_said_again_is_stored_too(store: Store) -> None:
    room = await new(store)
    await raise_and_invite(store, room, ANN)
    _, events = await store.apply(room, HOST, Invite("ann"), T0)
    assert [event for _, event in events] == [Invited("ann", "Ann")]
    assert (await store.events_after(room, "0-0"))[-1] == events[0]


async def test_update_with_any_step(store: Store) -> None:
    room = await new(store)
    after, events = await store.update(room, lambda r: connect(r, "host", True))
    assert after.stage[0].connected
    assert [event for _, event in events] == [StageChanged(after.stage)]
    assert await store.update(room, lambda r: connect(r, "host", True)) == (after, [])


async def test_promotions_on_two_nodes_never_pass_the_limit(
    redis: Redis, redis_server: EmbeddedRedis
) -> None:
    """Both nodes promote at once, again and again; the loser of each race sees the new room."""
    limits = RoomSettings(stage_limit=4)
    other = connect_redis(RedisSettings(timeout_s=10), redis_server.url)
    async with contextlib.aclosing(other):
        nodes = [Store(redis, limits, timeout_s=15), Store(other, limits, timeout_s=15)]
        room = await new(nodes[0])
        people = [person(n) for n in range(12)]
        for one in people:
            await raise_and_invite(nodes[0], room, one)
        results = await asyncio.gather(
            *(
                nodes[n % 2].apply(room, one, AnswerInvitation(True), T0)
                for n, one in enumerate(people)
            ),
            return_exceptions=True,
        )
        done = [r for r in results if not isinstance(r, BaseException)]
        failed = [r for r in results if isinstance(r, BaseException)]
        assert len(done) == 3
        assert all(isinstance(r, StageFull) for r in failed)
        assert len((await nodes[1].load_room(room)).stage) == 4
        told = [e for _, e in await nodes[1].events_after(room, "0-0")]
        sizes = [len(e.stage) for e in told if isinstance(e, StageChanged)]
        assert sizes == [2, 3, 4]  # every step is told once, in order


async def test_many_changes_at_once_all_happen(redis: Redis, redis_server: EmbeddedRedis) -> None:
    other = connect_redis(RedisSettings(timeout_s=10), redis_server.url)
    async with contextlib.aclosing(other):
        nodes = [Store(redis, timeout_s=15), Store(other, timeout_s=15)]
        room = await new(nodes[0])
        await asyncio.gather(
            *(nodes[n % 2].apply(room, person(n), RaiseHand(), T0) for n in range(20))
        )
        assert len((await nodes[0].load_room(room)).hands) == 20


async def test_a_crowd_at_once_on_one_node(store: Store) -> None:
    room = await new(store)
    results = await asyncio.gather(
        *(store.apply(room, person(n), RaiseHand(), T0) for n in range(300)),
        return_exceptions=True,
    )
    refused = [r for r in results if isinstance(r, BaseException)]
    assert len(refused) == 100
    assert all(isinstance(r, TooManyRequests) for r in refused)
    assert [h.participant for h in (await store.load_room(room)).hands] == [
        f"p{n}" for n in range(200)
    ]


async def test_waiting_for_a_turn_has_an_end(redis: Redis) -> None:
    subject = Store(redis, timeout_s=0.05)
    room = await new(Store(redis, timeout_s=15))
    async with subject._turn(room):
        with pytest.raises(Unavailable, match="too many at once"):
            await subject.apply(room, ANN, RaiseHand(), T0)


async def test_a_change_that_is_always_overtaken_is_given_up(
    store: Store, redis_server: EmbeddedRedis
) -> None:
    room = await new(store)
    with redis_sync.Redis.from_url(redis_server.url) as other:

        def overtaken(before: Room) -> Outcome:
            # What another node would do between our reading and our writing.
            other.hincrby(keys.state(room), "v", 1)
            return connect(before, "host", True)

        with pytest.raises(Unavailable, match="too many at once"):
            await store.update(room, overtaken)
    assert not (await store.load_room(room)).stage[0].connected


async def test_ended_rooms_can_be_looked_at_for_a_while(redis: Redis) -> None:
    store = Store(redis, RoomSettings(ended_ttl_s=100, idle_ttl_s=5000), timeout_s=15)
    room = await new(store)
    assert 4000 < await redis.ttl(keys.state(room)) <= 5000
    _, events = await store.apply(room, HOST, EndRoom(), T0)
    assert [event for _, event in events] == [RoomOver("ended")]
    assert (await store.load_room(room)).ended
    with pytest.raises(RoomEnded):
        await store.apply(room, ANN, RaiseHand(), T0)
    for key in (keys.state(room), keys.events(room)):
        assert 50 < await redis.ttl(key) <= 100
    # Nothing makes it live longer: neither a late event nor a node that still reports people.
    await store.append(room, Talking([None]))
    await store.set_presence(room, "node", 5, [])
    for key in (keys.state(room), keys.events(room)):
        assert 50 < await redis.ttl(key) <= 100


async def test_rooms_without_anybody_expire_and_people_keep_them(redis: Redis) -> None:
    store = Store(redis, RoomSettings(idle_ttl_s=5000), timeout_s=15)
    room = await new(store)
    await store.append(room, Talking([None]))
    for key in (keys.state(room), keys.events(room)):
        await redis.expire(key, 60)
    await store.set_presence(room, "node", 1, ["en"])
    for key in (keys.state(room), keys.events(room)):
        assert 4000 < await redis.ttl(key) <= 5000
    await redis.pexpire(keys.state(room), 1)
    await asyncio.sleep(0.01)
    with pytest.raises(RoomNotFound):
        await store.load_room(room)
    with pytest.raises(RoomNotFound):
        await store.append(room, Talking([None]))


async def test_cursor_that_is_too_old(redis: Redis) -> None:
    store = Store(redis, RoomSettings(event_history=10), timeout_s=15)
    room = await new(store)
    cursors = [await store.append(room, Presence(n)) for n in range(400)]
    kept = await redis.xlen(keys.events(room))
    assert 10 <= kept < 400
    with pytest.raises(CursorTooOld):
        await store.events_after(room, cursors[0])
    with pytest.raises(CursorTooOld):
        await store.events_after(room, "0-0")
    assert [c for c, _ in await store.events_after(room, cursors[-4])] == cursors[-3:]


async def test_cursor_of_a_store_that_was_set_back(store: Store) -> None:
    room = await new(store)
    with pytest.raises(CursorTooOld):
        await store.events_after(room, "1700000000000-0")
    cursor = await store.append(room, Presence(1))
    later = f"{int(cursor.partition('-')[0]) + 1}-0"
    with pytest.raises(CursorTooOld) as caught:
        await store.events_after(room, later)
    assert isinstance(caught.value, Conflict)
    assert caught.value.code == "cursor_too_old"


@pytest.mark.parametrize("number", [2**64 - 1, 2**64, 10**20 - 1])
async def test_cursor_beyond_every_stream(store: Store, number: int) -> None:
    room = await new(store)
    await store.append(room, Presence(1))
    with pytest.raises(CursorTooOld):
        await store.events_after(room, f"{number}-{number}")


@pytest.mark.parametrize("cursor", ["", "-", "1", "1-", "a-b", "1-0-0", "$", "-1-0", "١-٠"])
async def test_what_is_no_cursor(store: Store, cursor: str) -> None:
    with pytest.raises(BadMessage):
        await store.events_after(await new(store), cursor)


async def test_host_leaves_and_returns_across_nodes(store: Store) -> None:
    room = await new(store)
    after, _ = await store.apply(room, HOST, LeaveStage(), T0)
    assert after.stage == []
    after, _ = await store.apply(room, HOST, Invite("host"), T0)
    assert [m.role for m in after.stage] == ["host"]


async def test_down_is_told_quickly(tmp_path: pathlib.Path) -> None:
    client = connect_redis(RedisSettings(timeout_s=0.5), f"unix://{tmp_path}/none.sock")
    async with contextlib.aclosing(client):
        subject = Store(client, timeout_s=2)
        began = time.monotonic()
        for call in (
            subject.load_room("abc"),
            subject.create_room(DRAFT, "host", T0),
            subject.publish_live("abc", Presence(1)),
            subject.events_after("abc", "0-0"),
            subject.set_presence("abc", "n", 1, []),
            subject.captions("abc"),
            subject.captions_status(),
            subject.secret("jwt"),
            subject.acquire_lease("abc", "w", 1000),
            subject.speaking_rooms(),
        ):
            with pytest.raises(Unavailable) as caught:
                await call
            assert caught.value.retry_after_s
        assert time.monotonic() - began < 5


async def test_silence_is_told_quickly() -> None:
    """A server that takes the connection and never answers."""
    held = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = connect_redis(RedisSettings(timeout_s=0.2), f"redis://127.0.0.1:{port}/0")
    async with server, contextlib.aclosing(client):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await Store(client, timeout_s=1).load_room("abc")
        assert time.monotonic() - began < 3
        for writer in held:
            writer.close()


async def test_a_call_that_is_cancelled_never_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client may lose a cancellation (asyncio.wait_for in Python 3.11); the store does not."""

    async def lose_it(*command: object) -> bytes:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        return b"PONG"

    monkeypatch.setattr(store.redis, "execute_command", lose_it)
    task = asyncio.create_task(store.ping())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
