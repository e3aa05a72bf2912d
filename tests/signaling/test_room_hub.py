"""A room on this node: what is known here without asking Redis, and for how long."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatroom.errors import Unavailable
from chatroom.protocol import Caption, EndRoom
from chatroom.room import Actor
from signaling import room_hub
from signaling.app import Server
from tests.signaling.client import Client
from tests.signaling.test_api import events, problem

Counted = dict[str, int]


@pytest.fixture
def counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> Counted:
    """How often each of the store's reads was called from now on."""
    calls: Counted = {}
    store = server.context.store

    def count(name: str) -> Callable[..., Any]:
        real = getattr(store, name)

        async def counting(*args: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return await real(*args)

        return counting

    for name in ("load_room", "captions"):
        monkeypatch.setattr(store, name, count(name))
    return calls


def let_time_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is too old from now on."""
    monkeypatch.setattr(room_hub, "MAX_AGE_S", -1.0)


async def test_those_who_join_together_cost_one_look_at_the_store(
    client: Client, server: Server, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_hub, "MAX_AGE_S", 3600.0)
    host = await client.create()
    await client.join(host.room)
    counted.clear()
    await asyncio.gather(*(client.join(host.room, f"L{number}") for number in range(20)))
    for _ in range(3):
        reply = await client.session.get(f"{client.url}/api/rooms/{host.room}")
        assert reply.status == 200
    assert counted == {}


async def test_looking_does_not_make_the_node_follow(client: Client, server: Server) -> None:
    host = await client.create()
    assert (await client.session.get(f"{client.url}/api/rooms/{host.room}")).status == 200
    assert host.room not in server.context.hub.rooms


async def test_what_was_missed_is_found_when_the_state_is_old(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await client.create()
    await client.join(host.room)
    # This node hears nothing any more.
    await server.context.live.unsubscribe(server.context.hub._subscriptions[host.room])
    actor = Actor(host.id, "Host")
    await server.context.store.apply(host.room, actor, EndRoom(), 0.0)
    let_time_pass(monkeypatch)
    reply = await client.session.post(
        f"{client.url}/api/rooms/{host.room}/participants", json={"name": "Late"}
    )
    assert await problem(reply) == (410, "room_ended")


async def test_an_old_state_is_read_once_for_all_who_ask(
    client: Client, server: Server, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await client.create()
    await client.join(host.room)
    counted.clear()
    let_time_pass(monkeypatch)
    room = server.context.hub.rooms[host.room]
    await asyncio.gather(*(room.current() for _ in range(50)))
    assert counted == {"load_room": 1}


async def test_while_redis_is_away_nobody_waits_for_the_others(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = await client.create()
    await client.join(host.room)
    room = server.context.hub.rooms[host.room]
    tried = 0

    async def away(_: str) -> None:
        nonlocal tried
        tried += 1
        await asyncio.sleep(0.01)
        raise Unavailable("away")

    with monkeypatch.context() as without:
        let_time_pass(without)
        without.setattr(server.context.store, "load_room", away)
        answers = await asyncio.gather(*(room.current() for _ in range(50)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {Unavailable}
        assert tried == 1
    assert await room.current() is room.room


async def test_made_up_languages_do_not_add_up(client: Client, server: Server) -> None:
    host = await client.create()
    sockets = [await host.socket(captions="pt"), await host.socket(captions="pt")]
    sockets += [await host.socket(captions=f"en-x{number:04}") for number in range(60)]
    sockets.append(await host.socket(captions="fr"))
    sockets.append(await host.socket(captions="fr"))
    people, languages = server.context.hub.rooms[host.room].audience(0.0)
    assert people == 0
    assert len(languages) == room_hub._MAX_LANGUAGES
    assert {"pt", "fr"} < languages
    for socket in sockets:
        await socket.close()


async def test_joins_tell_the_room_nothing_but_the_count(client: Client) -> None:
    host = await client.create()
    socket = await host.socket()
    await socket.settled()
    for number in range(10):
        ana = await client.join(host.room, f"L{number}")
        await events(ana)
    told = await socket.settled()
    # The count is told once a second, not once a join.
    assert {message["type"] for message in told} <= {"presence"}
    assert len(told) < 10


async def test_the_history_is_read_once_until_more_is_said(
    client: Client, server: Server, counted: Counted
) -> None:
    host = await client.create()

    async def say(number: int) -> None:
        said = Caption(f"u{number}", "p", "P", 1, True, "pt", "olá", number, number, {"en": "hi"})
        await server.context.store.post_caption(host.room, said)

    async def read(language: str) -> list[tuple[str, dict[str, str]]]:
        told = await events(await client.join(host.room), captions=language)
        captions = [e["m"]["caption"] for e in told["events"] if e["m"]["type"] == "caption"]
        return [(caption["utterance"], caption["translations"]) for caption in captions]

    await say(0)
    counted.clear()
    assert await read("en") == await read("en") == [("u0", {"en": "hi"})]
    assert await read("zh") == [("u0", {})]
    assert counted["captions"] == 1
    await say(1)
    assert [utterance for utterance, _ in await read("en")] == ["u0", "u1"]
    assert counted["captions"] == 2
