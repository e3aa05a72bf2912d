"""Rooms over HTTP: creating, joining, bad bodies, commands and events without a WebSocket."""

import asyncio
from typing import Any

import aiohttp
import jwt
import pytest

from chatroom.protocol import Caption, CaptionsStatus
from signaling import context
from signaling.app import Server
from signaling.room_hub import RoomHub
from tests.signaling.client import Client, Person
from tests.signaling.conftest import Starter


async def problem(reply: aiohttp.ClientResponse) -> tuple[int, str]:
    """Status and code; the shape is checked."""
    assert reply.content_type == "application/problem+json", await reply.text()
    body = await reply.json(content_type=None)
    assert body["status"] == reply.status
    assert body["type"].endswith(body["code"])
    assert body["title"]
    assert body["detail"].endswith(".")
    return reply.status, body["code"]


async def test_a_room_is_created_looked_at_and_joined(client: Client) -> None:
    draft = {
        "title": "  Um\tchat ",
        "languages": ["pt", "en", "pt"],
        "rules": "Be kind.",
        "host_name": "Rui",
    }
    reply = await client.session.post(f"{client.url}/api/rooms", json=draft)
    assert reply.status == 201
    created = await reply.json()
    room = created["room"]
    assert (room["title"], room["languages"]) == ("Um chat", ["pt", "en"])
    assert room["stage"][0]["name"] == "Rui"
    assert room["stage"][0]["role"] == "host"
    assert created["invite_link"] == f"/r/{room['room']}"
    assert created["host_link"] == f"/r/{room['room']}#token={created['token']}"
    claims = jwt.decode(created["token"], options={"verify_signature": False})
    assert (claims["role"], claims["sub"], claims["speaks"]) == (
        "host",
        created["participant"],
        "pt",
    )

    looked = await client.session.get(client.url + reply.headers["Location"])
    assert (await looked.json()) == room

    joined = await client.session.post(
        f"{client.url}/api/rooms/{room['room']}/participants", json={"name": "Ana"}
    )
    assert joined.status == 201
    body = await joined.json()
    assert body["role"] == "listener"
    assert body["captions_status"]["state"] == "off"
    assert body["participant"] != created["participant"]


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ("{}", {}, (400, "bad_message")),
        ("", {}, (400, "bad_message")),
        ("not json", {}, (400, "bad_message")),
        ("[" * 5000, {}, (400, "bad_message")),
        (b"\xff\xfe", {}, (400, "bad_message")),
        ('{"title": "x", "languages": []}', {}, (400, "bad_message")),
        ('{"title": "x", "languages": ["English"]}', {}, (400, "bad_message")),
        ('{"title": "x", "languages": ["en"], "admin": true}', {}, (400, "bad_message")),
        ('{"title": " \\u202e ", "languages": ["en"]}', {}, (400, "bad_message")),
        ('{"title": "\\u200b\\u200d\\u3164", "languages": ["en"]}', {}, (400, "bad_message")),
        ('{"title": "x", "languages": ["en\\n"]}', {}, (400, "bad_message")),
        (b"no gzip", {"Content-Encoding": "gzip"}, (400, "bad_request")),
        ('{"title": "%s", "languages": ["en"]}' % ("x" * 121), {}, (400, "bad_message")),
        (b"x" * 70_000, {}, (413, "too_large")),
        (
            '{"title": "x", "languages": ["en"]}',
            {"Content-Type": "text/plain"},
            (415, "unsupported_media_type"),
        ),
    ],
)
async def test_bad_bodies(
    client: Client, body: Any, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    headers = {"Content-Type": "application/json", **headers}
    reply = await client.session.post(f"{client.url}/api/rooms", data=body, headers=headers)
    assert await problem(reply) == expected


BEGUN = (
    b"POST /api/rooms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)


async def test_a_body_that_never_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "BODY_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(BEGUN)
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b'"code":"bad_request"')
    assert answer.startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_who_leaves_in_the_middle_is_no_incident(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = asyncio.Event(), asyncio.Event()
    real = context.body_of

    async def watched(request: Any) -> bytes:
        begun.set()
        try:
            return await real(request)
        finally:
            over.set()

    monkeypatch.setattr(context, "body_of", watched)
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(BEGUN)
    async with asyncio.timeout(10):
        await begun.wait()
        writer.transport.abort()
        await over.wait()
    await client.session.get(f"{client.url}/healthz")
    assert server.context.incidents.count == 0


async def test_what_is_not_seen_is_left_out(client: Client) -> None:
    draft = {
        "title": "A\u200bna\u2066 \u200b\u202eB\u00ad",
        "languages": ["en"],
        "rules": " One.\r\n\tTwo\u202e\0. \U0001fae9\n",
        "host_name": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    }
    reply = await client.session.post(f"{client.url}/api/rooms", json=draft)
    room = (await reply.json())["room"]
    assert room["title"] == "Ana B"
    assert room["rules"] == "One.\n\tTwo. \U0001fae9"
    assert room["stage"][0]["name"] == draft["host_name"]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nothing", (404, "not_found")),
        ("GET", "/api/rooms/doesnotexist", (404, "room_not_found")),
        ("GET", "/api/rooms/a%20b", (404, "room_not_found")),
        ("DELETE", "/api/rooms", (405, "method_not_allowed")),
        ("POST", "/api/rooms/doesnotexist/commands", (401, "unauthorized")),
        ("GET", "/static/none.js", (404, "not_found")),
        ("GET", "/static/../app.py", (404, "not_found")),
        ("GET", "/static/%2e%2e/app.py", (404, "not_found")),
        ("GET", "/static/tsconfig.json/x", (404, "not_found")),
        ("GET", "/static/%00.js", (404, "not_found")),
        ("GET", f"/static/{'a' * 300}.js", (404, "not_found")),
    ],
)
async def test_addresses_that_are_wrong(
    client: Client, method: str, path: str, expected: tuple[int, str]
) -> None:
    from yarl import URL

    reply = await client.session.request(method, URL(client.url + path, encoded=True))
    assert await problem(reply) == expected
    if reply.status == 405:
        assert reply.headers["Allow"] == "POST"


async def test_a_join_of_a_room_that_is_not_there(client: Client) -> None:
    reply = await client.session.post(
        f"{client.url}/api/rooms/nowhere/participants", json={"name": "Ana"}
    )
    assert await problem(reply) == (404, "room_not_found")


async def test_rooms_are_limited_by_address(start: Starter) -> None:
    server = await start(rooms_at_once=2, rooms_per_minute=0.1)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        await client.create()
        await client.create()
        draft = {"title": "x", "languages": ["en"]}
        # A header of somebody who is no trusted proxy changes nothing.
        headers = {"X-Forwarded-For": "198.51.100.1"}
        reply = await session.post(f"{server.url}/api/rooms", json=draft, headers=headers)
        assert await problem(reply) == (429, "too_many_requests")
        assert int(reply.headers["Retry-After"]) > 0


async def test_a_trusted_proxy_says_whose_address_it_is(start: Starter) -> None:
    server = await start(rooms_at_once=1, rooms_per_minute=0.1, trusted_proxies=["127.0.0.1"])
    async with aiohttp.ClientSession() as session:
        draft = {"title": "x", "languages": ["en"]}
        statuses = [
            (
                await session.post(
                    f"{server.url}/api/rooms", json=draft, headers={"X-Forwarded-For": address}
                )
            ).status
            for address in ("198.51.100.1", "198.51.100.2", "198.51.100.1")
        ]
        assert statuses == [201, 201, 429]
        # A proxy that adds a header of its own below what the client made up.
        twice = [("X-Forwarded-For", "192.0.2.77"), ("X-Forwarded-For", "198.51.100.1")]
        reply = await session.post(f"{server.url}/api/rooms", json=draft, headers=twice)
        assert reply.status == 429


async def test_joins_are_limited_by_address(start: Starter) -> None:
    server = await start(joins_at_once=2, joins_per_second=0.1, trusted_proxies=["127.0.0.1"])
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()

        async def ask(path: str, address: str, **options: Any) -> aiohttp.ClientResponse:
            headers = {**options.pop("headers", {}), "X-Forwarded-For": address}
            return await session.post(server.url + path, headers=headers, **options)

        join, ana = f"/api/rooms/{host.room}/participants", "198.51.100.1"
        assert (await ask(join, ana, json={"name": "Ana"})).status == 201
        # A session counts as well, and refused ones do.
        whep = {"data": "v=0", "headers": {**host.auth, "Content-Type": "application/sdp"}}
        assert await problem(await ask(f"/rooms/{host.room}/whep", ana, **whep)) == (
            400,
            "bad_offer",
        )
        for path, options in (
            (join, {"json": {"name": "Ana"}}),
            (f"/rooms/{host.room}/whep", whep),
        ):
            reply = await ask(path, ana, **options)
            assert await problem(reply) == (429, "too_many_requests")
            assert int(reply.headers["Retry-After"]) > 0
        assert (await ask(join, "198.51.100.2", json={"name": "Ben"})).status == 201
        # A proxy on this machine that is not known as one is not limited in everybody's place.
        for _ in range(5):
            await client.join(host.room)


async def test_links_are_whole_with_a_public_url(start: Starter) -> None:
    server = await start(public_url="https://rooms.example.org/")
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}"
        reply = await session.post(f"{url}/api/rooms", json={"title": "x", "languages": ["en"]})
        created = await reply.json()
    assert created["invite_link"].startswith("https://rooms.example.org/r/")
    assert created["host_link"].startswith(created["invite_link"] + "#token=")


async def refused(person: Person, **options: Any) -> tuple[int, str]:
    reply = await person.client.session.post(
        f"{person.client.url}/api/rooms/{person.room}/commands", headers=person.auth, **options
    )
    return await problem(reply)


async def test_commands_over_http(client: Client) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    assert await ana.command("raise_hand") == []
    assert await host.command("invite", participant=ana.id) == []
    assert await ana.command("answer_invitation", accept=True) == [
        {"type": "role", "role": "speaker"}
    ]
    assert await ana.command("leave_stage") == [{"type": "role", "role": "listener"}]
    (pong,) = await ana.command("ping", t=1.5)
    assert (pong["type"], pong["t"]) == ("pong", 1.5)


async def test_commands_that_are_refused(client: Client) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    assert await refused(ana, json={"type": "end_room"}) == (403, "forbidden")
    assert await refused(ana, json={"type": "dance"}) == (400, "bad_message")
    assert await refused(ana, json={"type": "hello", "token": "x"}) == (400, "bad_message")
    assert await refused(ana, data="x") == (415, "unsupported_media_type")
    json = {"Content-Type": "application/json"}
    big = b'{"type": "ping", "t": ' + b"1" * 17_000 + b"}"
    reply = await client.session.post(
        f"{client.url}/api/rooms/{host.room}/commands", data=big, headers={**ana.auth, **json}
    )
    assert await problem(reply) == (413, "too_large")
    other = await client.create()
    stranger = Person(client, host.room, other.id, other.token)
    assert await refused(stranger, json={"type": "end_room"}) == (403, "forbidden")
    nobody = Person(client, host.room, other.id, "abc")
    assert await refused(nobody, json={"type": "end_room"}) == (401, "unauthorized")


async def test_commands_are_limited(start: Starter) -> None:
    server = await start(commands_at_once=3, commands_per_second=0.1)
    async with aiohttp.ClientSession() as session:
        host = await Client(session, server.url).create()
        for _ in range(3):
            await host.command("ping")
        assert await refused(host, json={"type": "ping"}) == (429, "too_many_requests")


async def events(person: Person, **query: str) -> Any:
    reply = await person.client.session.get(
        f"{person.client.url}/api/rooms/{person.room}/events", params=query, headers=person.auth
    )
    assert reply.status == 200, await reply.text()
    return await reply.json()


async def test_events_over_http(client: Client, server: Server) -> None:
    host = await client.create(languages=["pt", "en"])
    ana = await client.join(host.room)
    first = await events(ana)
    assert first["resumed"] is False
    assert [event["m"]["type"] for event in first["events"]][:2] == ["stage", "hands"]
    assert all(event["id"] is None for event in first["events"])

    await ana.command("raise_hand")
    caption = Caption("u1", "p", "P", 1, True, "pt", "bom dia", 0, 10, {"en": "hi", "zh": "好"})
    await server.context.store.post_caption(host.room, caption)
    missed = await events(ana, after=first["cursor"], captions="en")
    assert missed["resumed"] is True
    assert [event["m"]["type"] for event in missed["events"]] == ["hands", "caption"]
    assert missed["events"][1]["m"]["caption"]["translations"] == {"en": "hi"}
    assert missed["cursor"] == missed["events"][-1]["id"]

    nothing = await events(ana, after=missed["cursor"])
    assert (nothing["events"], nothing["cursor"]) == ([], missed["cursor"])
    # Cursors that this store never gave out.
    for cursor in ("9999999999999-0", "99999999999999999999-0", "0-99999999999999999999"):
        assert (await events(ana, after=cursor))["resumed"] is False
    again = await events(ana, captions="zh")
    assert again["events"][-1]["m"]["caption"]["translations"] == {"zh": "好"}


@pytest.mark.parametrize("query", [{"after": "x"}, {"after": "1"}, {"captions": "nonsense!"}])
async def test_events_asked_wrongly(client: Client, query: dict[str, str]) -> None:
    host = await client.create()
    reply = await client.session.get(
        f"{client.url}/api/rooms/{host.room}/events", params=query, headers=host.auth
    )
    assert await problem(reply) == (400, "bad_message")


async def test_an_ended_room(client: Client) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    await host.command("end_room")
    assert await refused(ana, json={"type": "raise_hand"}) == (410, "room_ended")
    reply = await client.session.post(
        f"{client.url}/api/rooms/{host.room}/participants", json={"name": "Late"}
    )
    assert await problem(reply) == (410, "room_ended")
    looked = await client.session.get(f"{client.url}/api/rooms/{host.room}")
    assert (await looked.json())["ended"] is True


async def test_polling_counts_as_listening(client: Client, server: Server) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    await events(ana, captions="zh")
    room = server.context.hub.rooms[host.room]
    assert room.audience(0.0) == (1, {"zh"})
    assert isinstance(room, RoomHub)


async def test_languages(client: Client, server: Server) -> None:
    await server.context.store.set_captions_status(
        CaptionsStatus("ready", pairs=["en-pt"], recognises=["en"])
    )
    await server.context.hub._learn_status()
    body = await (await client.session.get(f"{client.url}/api/languages")).json()
    assert [each["code"] for each in body["languages"]][:2] == ["en", "pt"]
    assert body["languages"][1]["translated_from"] == ["en"]
    assert body["captions_status"]["state"] == "ready"


async def test_health_and_metrics(client: Client) -> None:
    host = await client.create()
    await host.command("ping")
    assert (await (await client.session.get(f"{client.url}/healthz")).json())["status"] == "ok"
    assert (await client.session.get(f"{client.url}/api/rooms/nowhere")).status == 404
    reply = await client.session.get(f"{client.url}/metrics")
    assert reply.content_type == "text/plain"
    text = await reply.text()
    assert "\nchatroom_rooms 1\n" in text
    assert 'chatroom_refused_total{code="room_not_found"} 1' in text
    assert 'chatroom_captions_state{state="off"} 1' in text
    assert "chatroom_media_" in text
    assert "\nprocess_cpu_seconds_total " in text
    assert "\nprocess_resident_memory_bytes " in text
    names = [line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[0] != "#"]
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert set(names) == typed


async def test_an_idle_connection_is_given_up(start: Starter) -> None:
    server = await start(keep_alive_s=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        assert b"200 OK" in await reader.readline()
        # To the end, which the server makes.
        await reader.read()
    writer.close()


async def test_security_headers_are_on_everything(client: Client) -> None:
    for path in ("/", "/r/abcdefgh", "/api/languages", "/nothing"):
        reply = await client.session.get(client.url + path)
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert "microphone=(self)" in reply.headers["Permissions-Policy"]


async def test_pages_and_files(client: Client) -> None:
    for path, kind in [("/", "text/html"), ("/r/abcdefgh", "text/html")]:
        reply = await client.session.get(client.url + path)
        assert (reply.status, reply.content_type) == (200, kind)
        etag = reply.headers["ETag"]
        again = await client.session.get(client.url + path, headers={"If-None-Match": etag})
        assert again.status == 304
    reply = await client.session.get(f"{client.url}/static/js/protocol.d.ts")
    assert reply.status == 404
    reply = await client.session.get(f"{client.url}/static/js/api.js")
    assert reply.status == 200
    assert "javascript" in reply.content_type
    assert reply.headers["Cache-Control"] == "no-cache"
