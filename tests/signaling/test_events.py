"""The WebSocket over real sockets: hello, events by reader, resuming, abuse, the stage."""

import asyncio
import json
import socket as sockets
from typing import Any

import aiohttp
import msgspec
import pytest

from chatroom.protocol import Caption, CaptionsStatus, Talking
from signaling.app import Server
from tests.signaling.client import Client, Person, Socket
from tests.signaling.conftest import Starter


def caption(number: int, final: bool = True, **translations: str) -> Caption:
    return Caption(
        f"u{number}", "p", "P", 1, final, "pt", f"frase {number}", number, number, translations
    )


def types(messages: list[dict[str, Any]]) -> list[str]:
    """Of messages, without the counts that come when they come."""
    return [m["type"] for m in messages if m["type"] != "presence"]


async def test_welcome(client: Client) -> None:
    host = await client.create(title="Talk", host_name="Rui")
    socket = await host.socket(captions="en")
    welcome = socket.welcome
    assert welcome["room"]["title"] == "Talk"
    assert (welcome["participant"], welcome["name"], welcome["role"]) == (host.id, "Rui", "host")
    assert (welcome["captions"], welcome["resumed"], welcome["history"]) == ("en", False, [])
    assert welcome["captions_status"]["state"] == "off"
    assert welcome["now_ms"] >= 0
    await socket.close()


async def test_ping(client: Client) -> None:
    socket = await (await client.create()).socket()
    await socket.send(type="ping", t=3.5)
    pong = await socket.until("pong")
    assert pong["t"] == 3.5
    assert pong["now_ms"] >= 0


@pytest.mark.parametrize(
    ("first", "code", "close_code"),
    [
        ({"type": "hello", "token": "forged"}, "unauthorized", 4401),
        ({"type": "ping"}, "bad_message", 1008),
        ({"type": "hello"}, "bad_message", 1008),
        ({"type": "hello", "token": "x", "cursor": "soon"}, "bad_message", 1008),
        ({}, "bad_message", 1008),
    ],
)
async def test_a_bad_hello(
    client: Client, first: dict[str, Any], code: str, close_code: int
) -> None:
    host = await client.create()
    socket = await client.connect(host.room)
    await socket.send(**first)
    error = await socket.until("error")
    assert (error["code"], error["fatal"]) == (code, True)
    assert await socket.closed() == close_code


async def test_a_hello_in_binary_or_no_json(client: Client) -> None:
    host = await client.create()
    for send in ("send_bytes", "send_str"):
        socket = await client.connect(host.room)
        await getattr(socket.ws, send)(b"\x00" if send == "send_bytes" else "{")
        assert (await socket.until("error"))["code"] == "bad_message"
        assert await socket.closed() == 1008


async def test_a_token_of_another_room(client: Client) -> None:
    one, other = await client.create(), await client.create()
    socket = await client.connect(one.room)
    await socket.send(type="hello", token=other.token)
    assert (await socket.until("error"))["code"] == "forbidden"
    assert await socket.closed() == 4403


async def test_no_hello_in_time(start: Starter) -> None:
    server = await start(hello_timeout_s=0.1)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        socket = await client.connect(host.room)
        assert (await socket.until("error"))["fatal"] is True
        assert await socket.closed() == 1008


async def test_pages_of_other_sites_may_not_connect(start: Starter) -> None:
    server = await start(allowed_origins=["https://www.example.org"])
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        for origin in ("https://evil.example", "null", f"{server.url}1", "http://["):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await client.connect(host.room, origin=origin)
            assert caught.value.status == 403
        for origin in (server.url, "https://www.example.org"):
            await (await client.connect(host.room, origin=origin)).close()


async def test_too_many_sockets(start: Starter) -> None:
    server = await start(max_sockets=1)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        first = await host.socket()
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await client.connect(host.room)
        assert caught.value.status == 503
        await first.close()


# ------------------------------------------------------------------------- the stage


async def test_from_the_hand_to_the_stage_and_back(client: Client) -> None:
    host = await client.create()
    ana, ben = [await client.join(host.room, name, speaks="pt") for name in ("Ana", "Ben")]
    keeper, hers, his = [await who.socket() for who in (host, ana, ben)]

    await hers.send(type="raise_hand")
    hands = await keeper.until("hands")
    assert [(h["name"], h["speaks"]) for h in hands["hands"]] == [("Ana", "pt")]
    assert (await hers.until("hands"))["hands"] == hands["hands"]
    assert (await his.until("hands")) == {**hands, "hands": [], "total": 1}

    await keeper.send(type="invite", participant=ana.id)
    assert (await hers.until("invited"))["participant"] == ana.id
    assert (await keeper.until("invited"))["name"] == "Ana"
    await hers.send(type="answer_invitation", accept=True)
    assert (await hers.until("role"))["role"] == "speaker"
    assert (await keeper.until("invitation_answered"))["accepted"] is True
    for socket in (keeper, hers, his):
        stage = (await socket.until("stage"))["stage"]
        assert [(m["name"], m["role"]) for m in stage] == [("Host", "host"), ("Ana", "speaker")]
    assert "invited" not in types(await his.settled())

    await keeper.send(type="set_muted", participant=ana.id, muted=True)
    stage = (await his.until("stage"))["stage"]
    assert [m["muted"] for m in stage] == [False, True]
    await keeper.send(type="set_muted", participant=ana.id, muted=False)
    error = await keeper.until("error")
    assert (error["code"], error["of"], error["fatal"]) == ("forbidden", "set_muted", False)

    await keeper.send(type="leave_stage", participant=ana.id)
    assert (await hers.until("role"))["role"] == "listener"
    assert len((await his.until("stage", stage=stage[:1]))["stage"]) == 1


async def test_a_socket_that_comes_to_a_room_with_hands(client: Client) -> None:
    host = await client.create()
    ana, ben = [await client.join(host.room, name) for name in ("Ana", "Ben")]
    await ana.command("raise_hand")
    await ben.command("raise_hand")
    await host.command("invite", participant=ana.id)
    for who, hands, invited in ((host, 2, False), (ana, 1, True), (ben, 1, False)):
        welcome = (await who.socket()).welcome
        assert (len(welcome["hands"]), welcome["hands_total"]) == (hands, 2)
        assert welcome["invited"] is invited


async def test_removed(client: Client) -> None:
    host = await client.create()
    ana, ben = [await client.join(host.room, name) for name in ("Ana", "Ben")]
    keeper, hers, his = [await who.socket() for who in (host, ana, ben)]
    await keeper.send(type="remove", participant=ana.id, reason="noise")
    told = await hers.until("removed")
    assert told["reason"] == "noise"
    assert (await hers.until("error"))["code"] == "forbidden"
    assert await hers.closed() == 4403
    assert (await keeper.until("removed"))["participant"] == ana.id
    assert "removed" not in types(await his.settled())

    again = await client.connect(host.room)
    await again.send(type="hello", token=ana.token)
    assert (await again.until("error"))["fatal"] is True
    assert await again.closed() == 4403


async def test_the_end(client: Client) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    keeper, hers = await host.socket(), await ana.socket()
    await keeper.send(type="end_room")
    for socket in (keeper, hers):
        assert (await socket.until("room_over"))["reason"] == "ended"
        assert (await socket.until("error"))["code"] == "room_ended"
        assert await socket.closed() == 4410
    late = await client.connect(host.room)
    await late.send(type="hello", token=ana.token)
    assert (await late.until("error"))["code"] == "room_ended"
    assert await late.closed() == 4410


async def test_a_room_that_is_not_there(client: Client, server: Server) -> None:
    host = await client.create()
    await server.context.store.redis.flushall()
    socket = await client.connect(host.room)
    await socket.send(type="hello", token=host.token)
    assert (await socket.until("error"))["code"] == "room_not_found"
    assert await socket.closed() == 4404


# --------------------------------------------------------------------------- resuming


async def test_who_was_cut_off_gets_exactly_what_was_missed(client: Client, server: Server) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    store = server.context.store
    hers = await ana.socket(captions="en")
    await store.post_caption(host.room, caption(1, en="one"))
    assert (await hers.until("caption"))["caption"]["text"] == "frase 1"
    # Cut off without a goodbye.
    transport = hers.ws._conn.transport  # type: ignore[attr-defined]
    assert transport is not None
    transport.abort()

    await store.post_caption(host.room, caption(2, en="two", zh="二"))
    await store.post_caption(host.room, caption(3, final=False))
    await ana.command("raise_hand")
    await store.post_caption(host.room, caption(4))

    back = await ana.socket(captions="en", cursor=hers.last)
    assert back.welcome["resumed"] is True
    assert back.welcome["history"] == []
    assert back.welcome["cursor"] == hers.last
    missed = [m for m in await back.settled() if "id" in m]
    assert types(missed) == ["caption", "hands", "caption"]
    assert missed[0]["caption"]["translations"] == {"en": "two"}
    # Once more from the end: nothing is missing, and nothing comes twice.
    once_more = await ana.socket(captions="en", cursor=back.last)
    assert once_more.welcome["resumed"] is True
    assert [m for m in await once_more.settled() if "id" in m] == []
    await store.post_caption(host.room, caption(5))
    assert (await once_more.until("caption"))["caption"]["utterance"] == "u5"


async def test_of_missed_lists_the_last_comes(client: Client) -> None:
    host = await client.create()
    cursor = (await host.socket()).welcome["cursor"]
    for name in ("Ana", "Bea", "Cem"):
        await (await client.join(host.room, name)).command("raise_hand")
    await host.command("set_muted", muted=True)
    back = await host.socket(cursor=cursor)
    assert back.welcome["resumed"] is True
    missed = [m for m in await back.settled() if "id" in m]
    assert types(missed) == ["hands", "stage"]
    assert [hand["name"] for hand in missed[0]["hands"]] == ["Ana", "Bea", "Cem"]
    await host.command("set_muted", muted=False)
    assert (await back.until("stage"))["id"] > missed[-1]["id"]


async def test_events_during_the_welcome_come_once_and_in_order(
    client: Client, server: Server
) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    store = server.context.store
    first = await ana.socket()

    async def talk() -> None:
        for number in range(60):
            await store.post_caption(host.room, caption(number))

    async def come_and_go() -> list[str]:
        seen: list[str] = []
        cursor = first.welcome["cursor"]
        while len(seen) < 60:
            socket = await ana.socket(cursor=cursor)
            while len(seen) < 60:
                message = await socket.receive()
                if message["type"] == "caption":
                    seen.append(message["caption"]["utterance"])
                    if len(seen) % 7 == 0:
                        break
            cursor = socket.last
            await socket.close()
        return seen

    seen, _ = await asyncio.gather(come_and_go(), talk())
    assert seen == [f"u{number}" for number in range(60)]


async def test_history_starts_anew(start: Starter) -> None:
    server = await start(resume_events=2)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        cursor = (await host.socket()).welcome["cursor"]
        for number in range(3):
            await server.context.store.post_caption(host.room, caption(number, en="x", zh="y"))
        for too_old in (cursor, None):
            socket = await host.socket(captions="zh", cursor=too_old)
            assert socket.welcome["resumed"] is False
            history = socket.welcome["history"]
            assert [c["utterance"] for c in history] == ["u0", "u1", "u2"]
            assert all(c["translations"] == {"zh": "y"} for c in history)
            assert types(await socket.settled()) == []


async def test_a_subscriber_that_lost_its_connection_catches_up(
    client: Client, server: Server
) -> None:
    host = await client.create()
    socket = await host.socket()
    for number in range(3):
        await server.context.store.post_caption(host.room, caption(number))
        # Redis closes every subscriber's connection.
        await server.context.store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    seen = [(await socket.until("caption"))["caption"]["utterance"] for _ in range(3)]
    assert seen == ["u0", "u1", "u2"]


# ------------------------------------------------------------------- captions, counts


async def test_captions_by_language(client: Client, server: Server) -> None:
    host = await client.create()
    readers: dict[str | None, Socket] = {}
    for language in ("en", "zh", None):
        readers[language] = await (await client.join(host.room)).socket(captions=language)
    encoded = server.context.hub.encoded
    posted = caption(1, en="sentence", zh="句子")
    await server.context.store.post_caption(host.room, posted)
    for language, reader in readers.items():
        got = (await reader.until("caption"))["caption"]
        expected = {language: posted.translations[language]} if language else {}
        assert got["translations"] == expected
        assert got["text"] == "frase 1"
    assert server.context.hub.encoded - encoded >= 3

    reader = readers[None]
    await reader.send(type="set_captions", captions="zh")
    answer = await reader.until("captions_set")
    assert answer["captions"] == "zh"
    assert answer["history"][0]["translations"] == {"zh": "句子"}
    await server.context.store.post_caption(host.room, caption(2, zh="二"))
    assert (await reader.until("caption"))["caption"]["translations"] == {"zh": "二"}
    assert server.context.hub.rooms[host.room].audience(0.0)[1] == {"en", "zh"}


async def test_a_language_without_a_model(client: Client, server: Server) -> None:
    store = server.context.store
    ready = CaptionsStatus("ready", pairs=["en-pt"], recognises=["en"])
    host = await client.create(languages=["en"])
    socket = await host.socket()
    await store.set_captions_status(ready)
    assert (await socket.until("captions_status"))["status"]["state"] == "ready"
    await socket.send(type="set_captions", captions="fr")
    assert (await socket.until("captions_set"))["captions"] == "fr"
    error = await socket.until("error")
    assert (error["code"], error["of"]) == ("language_unavailable", "set_captions")
    other = await host.socket(captions="fr")
    assert (await other.until("error"))["of"] == "hello"
    await other.send(type="set_captions", captions="pt")
    assert types(await other.settled()) == ["captions_set"]


async def test_counts(client: Client, server: Server) -> None:
    host = await client.create()
    keeper = await host.socket()
    ana = await client.join(host.room)
    one, two = await ana.socket(), await ana.socket()
    # Two sockets of one person, and the host on stage does not count.
    assert (await keeper.until("presence"))["listeners"] == 1
    assert await server.context.store.listeners(host.room) == 1
    await one.close()
    await two.close()
    assert (await keeper.until("presence"))["listeners"] == 0


async def test_who_is_on_stage_reads_without_an_audience(client: Client, server: Server) -> None:
    host = await client.create()
    socket = await host.socket(captions="pt")
    store = server.context.store
    async with asyncio.timeout(10):
        while await store.wanted_languages(host.room) != {"pt"}:
            await asyncio.sleep(0.05)
    assert await store.listeners(host.room) == 0
    await socket.close()


async def test_talking(client: Client, server: Server) -> None:
    host = await client.create()
    socket = await host.socket()
    await server.context.store.publish_live(host.room, Talking([host.id, None]))
    assert (await socket.until("talking"))["slots"] == [host.id, None]
    assert (await host.socket()).welcome["talking"] == [host.id, None]


async def test_two_nodes_are_one_room(start: Starter) -> None:
    servers = [await start(), await start()]
    async with aiohttp.ClientSession() as session:
        here, there = [Client(session, server.url) for server in servers]
        host = await here.create()
        ana = await there.join(host.room)
        keeper, hers = await host.socket(), await ana.socket()
        await hers.send(type="raise_hand")
        await keeper.until("hands", total=1)
        await keeper.send(type="invite", participant=ana.id)
        await hers.until("invited")
        await hers.send(type="answer_invitation", accept=True)
        assert (await hers.until("role"))["role"] == "speaker"
        await keeper.send(type="leave_stage", participant=ana.id)
        assert (await hers.until("role"))["role"] == "listener"
        assert (await keeper.until("presence"))["listeners"] == 1
        await keeper.send(type="remove", participant=ana.id)
        assert await hers.closed() == 4403


# ------------------------------------------------------------------------------ abuse


async def test_messages_that_are_wrong_leave_the_connection_up(client: Client) -> None:
    socket = await (await client.create()).socket()
    wrong: list[tuple[str | bytes, str]] = [
        ("{", "bad_message"),
        ('{"type": "dance"}', "bad_message"),
        ('{"type": "invite"}', "bad_message"),
        ('{"type": "ping", "x": 1}', "bad_message"),
        (b"\x00\x01", "bad_message"),
        ('{"type": "ping", "t": ' + "1" * 17_000 + "}", "too_large"),
        ("[" * 10_000, "bad_message"),
    ]
    for data, code in wrong:
        await (socket.ws.send_bytes if isinstance(data, bytes) else socket.ws.send_str)(data)  # type: ignore[operator]
        error = await socket.until("error")
        assert (error["code"], error["fatal"]) == (code, False)
    assert types(await socket.settled()) == []


async def test_who_goes_on_is_closed(client: Client) -> None:
    host = await client.create()
    abuser, bystander = await host.socket(), await (await client.join(host.room)).socket()
    for _ in range(12):
        await abuser.ws.send_str("{")
    assert (await abuser.until("error", fatal=True))["code"] == "bad_message"
    assert await abuser.closed() == 1008
    assert types(await bystander.settled()) == []


async def test_a_message_that_is_far_too_large(client: Client) -> None:
    socket = await (await client.create()).socket()
    await socket.ws.send_str("x" * 100_000)
    assert await socket.closed() == 1009


async def test_commands_are_limited(start: Starter) -> None:
    server = await start(commands_at_once=2, commands_per_second=0.1)
    async with aiohttp.ClientSession() as session:
        socket = await (await Client(session, server.url).create()).socket()
        for _ in range(20):
            await socket.send(type="ping")
        error = await socket.until("error")
        assert error["code"] == "too_many_requests"
        assert error["retry_after_s"] > 0
        assert await socket.closed() == 4429


async def test_who_does_not_read_is_cut_off_alone(start: Starter) -> None:
    server = await start(send_buffer_kib=64)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        ana = await client.join(host.room)
        reader = await host.socket()
        slow = await stuck(server, ana)
        store = server.context.store
        long = msgspec.structs.replace(caption(0), text="x" * 60_000)
        for number in range(200):
            await store.post_caption(
                host.room, msgspec.structs.replace(long, utterance=f"u{number}")
            )
            await reader.until("caption")
            if server.context.hub.stats.cut:
                break
        assert server.context.hub.stats.cut == 1
        # What passes was left out before that, for the slow one alone.
        async with asyncio.timeout(10):
            while len(server.context.hub.rooms[host.room].connections) > 1:
                await asyncio.sleep(0.01)
        slow.close()


async def stuck(server: Server, who: Person) -> sockets.socket:
    """A WebSocket by hand that says hello and never reads."""
    loop = asyncio.get_running_loop()
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await loop.sock_connect(raw, ("127.0.0.1", server.port))
    request = (
        f"GET /api/rooms/{who.room}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(raw, request.encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += await loop.sock_recv(raw, 1)
    assert b" 101 " in answer
    hello = json.dumps({"type": "hello", "token": who.token}).encode()
    assert 126 <= len(hello) < 65536
    await loop.sock_sendall(raw, b"\x81\xfe" + len(hello).to_bytes(2, "big") + bytes(4) + hello)
    assert (await loop.sock_recv(raw, 2))[0] == 0x81
    return raw
