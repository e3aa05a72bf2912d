"""WHIP and WHEP from the outside: HTTP, then ICE, DTLS and SRTP with a real client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from chatroom.bus import FrameBatch, MediaMessage, SpeakerChanged
from media import levels, rtp, shedding
from media.levels import AudioLevel
from media.plane import Backlog
from media.settings import MediaSettings
from signaling.app import Server
from tests.media.client import TestPeer
from tests.signaling.client import Client, Person
from tests.signaling.conftest import Starter
from tests.signaling.test_api import problem

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


@dataclass
class Session:
    """A session as its client has it."""

    owner: Person
    peer: TestPeer
    url: str
    etag: str
    headers: dict[str, str] = field(default_factory=dict)
    spoken: int = 0

    def say(self) -> None:
        """20 ms of sound that names its number."""
        self.peer.send_rtp(
            rtp.build(
                rtp.RtpPacket(
                    111,
                    1000 + self.spoken,
                    960 * self.spoken,
                    7,
                    bytes((31 << 3,)) + f"{self.owner.id}:{self.spoken}".encode() + bytes(20),
                    extensions={1: levels.build(AudioLevel(20, True))},
                )
            )
        )
        self.spoken += 1

    async def request(self, method: str, **options: Any) -> aiohttp.ClientResponse:
        options.setdefault("headers", {})
        options["headers"] = {**self.owner.auth, **options["headers"]}
        return await self.owner.client.session.request(method, self.url, **options)

    def fragment(self, ufrag: str, password: str = "p" * 24) -> str:
        return f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"


class Opener:
    """Opens sessions, and closes their sockets in the end."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.peers: list[TestPeer] = []

    async def __call__(self, who: Person, what: str, *, sections: int = 1) -> Session:
        """`what` is whip or whep; connected when it returns."""
        peer = await TestPeer.open(("127.0.0.1", self.server.context.media.port))
        self.peers.append(peer)
        offer = peer.offer("publish" if what == "whip" else "listen", sections=sections)
        reply = await who.client.session.post(
            f"{who.client.url}/rooms/{who.room}/{what}", data=offer, headers={**who.auth, **SDP}
        )
        answer = await reply.text()
        assert reply.status == 201, answer
        assert reply.content_type == "application/sdp"
        assert reply.headers["Location"].startswith("/sessions/")
        etag = reply.headers["ETag"]
        assert etag.startswith('"')
        peer.accept(answer)
        await peer.connect()
        url = who.client.url + reply.headers["Location"]
        return Session(who, peer, url, etag, dict(reply.headers))


@pytest.fixture
async def open_session(server: Server) -> AsyncIterator[Opener]:
    opener = Opener(server)
    yield opener
    for peer in opener.peers:
        await peer.close()


async def until(true: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)


async def hears(listener: Session, speaker: Session, timeout_s: float = 10.0) -> rtp.RtpPacket:
    """The speaker talks until the listener has heard it."""
    async with asyncio.timeout(timeout_s):
        while True:
            speaker.say()
            with contextlib.suppress(TimeoutError):
                packet = rtp.parse(await listener.peer.next_rtp(0.02))
                if speaker.owner.id.encode() in packet.payload:
                    return packet


async def test_somebody_speaks_and_somebody_hears(
    client: Client, server: Server, open_session: Opener
) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    socket = await ana.socket()
    heard: list[MediaMessage] = []
    await server.context.live.subscribe_media(host.room, heard.append)

    speaker = await open_session(host, "whip")
    assert (await socket.until("stage"))["stage"][0]["connected"] is True
    listener = await open_session(ana, "whep", sections=3)
    await hears(listener, speaker)
    assert (await socket.until("talking"))["slots"][0] == host.id

    # The sound is on the bus for the translation worker, and the room is known to speak.
    def frames() -> list[Any]:
        return [f for m in heard if isinstance(m, FrameBatch) for f in m.frames]

    await until(frames)
    assert [f.sequence for f in frames()] == sorted(f.sequence for f in frames())
    assert frames()[0].participant == host.id
    assert frames()[0].level_dbov == 20
    assert frames()[0].node == server.context.hub.node
    note = next(m for m in heard if isinstance(m, SpeakerChanged))
    assert (note.participant, note.connected) == (host.id, True)
    await until(lambda: server.context.bridge._touched)
    assert await server.context.store.speaking_rooms() == [host.room]

    # Mute is at the server.
    await host.command("set_muted", muted=True)
    await socket.until("stage")
    await asyncio.sleep(0.1)
    while not listener.peer.rtp.empty():
        listener.peer.rtp.get_nowait()
    for _ in range(10):
        speaker.say()
        await asyncio.sleep(0.02)
    spoken = [p for p in list(listener.peer.rtp._queue) if host.id.encode() in p]  # type: ignore[attr-defined]
    assert spoken == []
    await host.command("set_muted", muted=False)
    await hears(listener, speaker)

    reply = await speaker.request("DELETE")
    assert reply.status == 200
    assert (await socket.until("stage", timeout_s=5))["stage"][0]["muted"] is False
    await until(lambda: not server.context.hub.rooms[host.room].publishing())
    assert await problem(await speaker.request("DELETE")) == (404, "session_not_found")


async def test_promoted_to_the_stage_and_demoted(
    client: Client, server: Server, open_session: Opener
) -> None:
    host = await client.create()
    ana, ben = [await client.join(host.room, name) for name in ("Ana", "Ben")]
    listener = await open_session(ben, "whep")
    hers = await open_session(ana, "whep")
    offer = hers.peer.offer("publish")
    refused = await client.session.post(
        f"{client.url}/rooms/{host.room}/whip", data=offer, headers={**ana.auth, **SDP}
    )
    assert await problem(refused) == (403, "forbidden")

    await ana.command("raise_hand")
    await host.command("invite", participant=ana.id)
    await ana.command("answer_invitation", accept=True)
    speaker = await open_session(ana, "whip")
    await hears(listener, speaker)
    stage = server.context.hub.rooms[host.room].room.stage
    assert [member.participant for member in stage] == [host.id, ana.id]

    await host.command("leave_stage", participant=ana.id)
    await until(lambda: not server.context.hub.rooms[host.room].publishing())
    assert await problem(await speaker.request("DELETE")) == (404, "session_not_found")
    # Listening goes on.
    assert (await hers.request("DELETE")).status == 200


async def test_a_host_in_the_audience_does_not_publish(
    client: Client, open_session: Opener
) -> None:
    host = await client.create()
    listener = await open_session(host, "whep")
    await host.command("leave_stage")
    offer = {"data": listener.peer.offer("publish"), "headers": {**host.auth, **SDP}}
    reply = await client.session.post(f"{client.url}/rooms/{host.room}/whip", **offer)
    assert await problem(reply) == (403, "forbidden")
    await host.command("invite", participant=host.id)
    await open_session(host, "whip")


async def test_who_is_removed_hears_nothing_more(
    client: Client, server: Server, open_session: Opener
) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    await open_session(ana, "whep")
    await host.command("remove", participant=ana.id)
    await until(lambda: not server.context.hub.rooms[host.room].sessions)
    peer = await TestPeer.open(("127.0.0.1", server.context.media.port))
    reply = await client.session.post(
        f"{client.url}/rooms/{host.room}/whep",
        data=peer.offer("listen"),
        headers={**ana.auth, **SDP},
    )
    assert await problem(reply) == (403, "forbidden")
    await peer.close()


async def test_the_end_of_the_room_ends_the_sound(
    client: Client, server: Server, open_session: Opener
) -> None:
    host = await client.create()
    await open_session(host, "whip")
    listener = await open_session(host, "whep")
    room = server.context.hub.rooms[host.room]
    await host.command("end_room")
    await until(lambda: not room.sessions)
    offer = listener.peer.offer("listen")
    reply = await client.session.post(
        f"{client.url}/rooms/{host.room}/whep", data=offer, headers={**host.auth, **SDP}
    )
    assert await problem(reply) == (410, "room_ended")


async def test_a_new_publishing_session_replaces_the_old(
    client: Client, server: Server, open_session: Opener
) -> None:
    host = await client.create()
    old = await open_session(host, "whip")
    new = await open_session(host, "whip")
    room = server.context.hub.rooms[host.room]
    assert [session.id for session in room.publishing()] == [new.url.rpartition("/")[2]]
    assert (await old.request("DELETE")).status == 404
    # Told apart from a session that is merely gone, which is a reason to come anew.
    restart = {"data": old.fragment("abcd"), "headers": {**FRAGMENT, "If-Match": "*"}}
    assert await problem(await old.request("PATCH", **restart)) == (409, "conflict")
    assert await problem(await new.request("PATCH", **{**restart, "data": "a=b"})) == (
        400,
        "bad_offer",
    )

    async def connected() -> bool:
        return (await server.context.store.load_room(host.room)).stage[0].connected

    async with asyncio.timeout(5):
        while not await connected():
            await asyncio.sleep(0.02)
    assert (await new.request("DELETE")).status == 200
    async with asyncio.timeout(5):
        while await connected():
            await asyncio.sleep(0.02)


# --------------------------------------------------------------------------------- PATCH


async def test_ice_restart(client: Client, open_session: Opener) -> None:
    host = await client.create()
    speaker = await open_session(host, "whip")
    listener = await open_session(await client.join(host.room), "whep")
    await hears(listener, speaker)

    new = speaker.fragment("newufrag")
    bare = await speaker.request("PATCH", data=new, headers=FRAGMENT)
    assert await problem(bare) == (428, "precondition_required")
    other = await speaker.request("PATCH", data=new, headers={**FRAGMENT, "If-Match": '"other"'})
    assert await problem(other) == (412, "precondition_failed")

    reply = await speaker.request("PATCH", data=new, headers={**FRAGMENT, "If-Match": '"*"'})
    assert reply.status == 200
    assert reply.content_type == "application/trickle-ice-sdpfrag"
    answer = await reply.text()
    lines = dict(line.split(":", 1) for line in answer.split("\r\n") if ":" in line)
    etag = reply.headers["ETag"]
    assert etag != speaker.etag

    peer = speaker.peer
    peer.ufrag, peer.password = "newufrag", "p" * 24
    peer.server_ufrag, peer.server_password = lines["a=ice-ufrag"], lines["a=ice-pwd"]
    await peer.move()
    await peer.check()
    await hears(listener, speaker)

    # The old tag is no more; the new one is.
    again = speaker.fragment("thirdufrag")
    stale = await speaker.request(
        "PATCH", data=again, headers={**FRAGMENT, "If-Match": speaker.etag}
    )
    assert stale.status == 412
    fresh = await speaker.request("PATCH", data=again, headers={**FRAGMENT, "If-Match": etag})
    assert fresh.status == 200


async def test_trickle(client: Client, open_session: Opener) -> None:
    session = await open_session(await client.create(), "whip")
    candidate = "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
    trickle = session.fragment(session.peer.ufrag, session.peer.password) + candidate
    for headers in ({}, {"If-Match": session.etag}):
        reply = await session.request("PATCH", data=trickle, headers={**FRAGMENT, **headers})
        assert (reply.status, reply.headers["ETag"]) == (204, session.etag)
    reply = await session.request("PATCH", data="a=end-of-candidates\r\n", headers=FRAGMENT)
    assert reply.status == 204


@pytest.mark.parametrize(
    ("data", "headers", "expected"),
    [
        ("rubbish", {}, (400, "bad_offer")),
        ("", {}, (400, "bad_offer")),
        ("a=mid:0\r\n", {}, (400, "bad_offer")),
        ("a=ice-ufrag:new1\r\n", {"If-Match": "*"}, (400, "bad_offer")),
        ("a=x:" + "x" * 20_000, {}, (413, "too_large")),
        ("v=0\r\n", {"Content-Type": "application/sdp"}, (415, "unsupported_media_type")),
    ],
)
async def test_a_bad_patch(
    client: Client,
    open_session: Opener,
    data: str,
    headers: dict[str, str],
    expected: tuple[int, str],
) -> None:
    session = await open_session(await client.create(), "whip")
    reply = await session.request("PATCH", data=data, headers={**FRAGMENT, **headers})
    assert await problem(reply) == expected


async def test_sessions_are_their_owners(client: Client, open_session: Opener) -> None:
    host = await client.create()
    ana, ben = [await client.join(host.room, name) for name in ("Ana", "Ben")]
    session = await open_session(ana, "whep")
    stranger = await client.create()
    for who in (ben, stranger):
        reply = await client.session.delete(session.url, headers=who.auth)
        assert await problem(reply) == (403, "forbidden")
    reply = await client.session.delete(session.url)
    assert await problem(reply) == (401, "unauthorized")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    # A host may end it, but not change it.
    new = session.fragment("newufrag")
    headers = {**host.auth, **FRAGMENT, "If-Match": "*"}
    reply = await client.session.patch(session.url, data=new, headers=headers)
    assert await problem(reply) == (403, "forbidden")
    assert (await client.session.delete(session.url, headers=host.auth)).status == 200


# ------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("what", ["whip", "whep"])
@pytest.mark.parametrize(
    ("change", "headers", "expected"),
    [
        (lambda offer: "rubbish", {}, (400, "bad_offer")),
        (lambda offer: "", {}, (400, "bad_offer")),
        (lambda offer: b"\xff\xfe", {}, (400, "bad_offer")),
        (lambda offer: offer.replace("a=ice-ufrag", "a=x"), {}, (400, "bad_offer")),
        (lambda offer: offer.replace("opus/48000/2", "G7221/16000"), {}, (406, "no_opus")),
        (lambda offer: offer + "a=x\r\n" * 20_000, {}, (413, "too_large")),
        (lambda offer: offer, {"Content-Type": "text/plain"}, (415, "unsupported_media_type")),
        (lambda offer: offer, {"Authorization": "Bearer abc"}, (401, "unauthorized")),
        (lambda offer: offer, {"Authorization": ""}, (401, "unauthorized")),
    ],
)
async def test_offers_that_are_refused(
    client: Client,
    server: Server,
    what: str,
    change: Callable[[str], Any],
    headers: dict[str, str],
    expected: tuple[int, str],
) -> None:
    host = await client.create()
    peer = await TestPeer.open(("127.0.0.1", server.context.media.port))
    offer = peer.offer("publish" if what == "whip" else "listen")
    reply = await client.session.post(
        f"{client.url}/rooms/{host.room}/{what}",
        data=change(offer),
        headers={**host.auth, **SDP, **headers},
    )
    assert await problem(reply) == expected
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    await peer.close()


@pytest.mark.parametrize("what", ["whip", "whep"])
async def test_an_offer_that_takes_its_time(client: Client, server: Server, what: str) -> None:
    host = await client.create()
    hub = server.context.hub
    peer = await TestPeer.open(("127.0.0.1", server.context.media.port))
    offer = peer.offer("publish" if what == "whip" else "listen").encode()

    async def slowly() -> AsyncIterator[bytes]:
        yield offer[:100]
        async with asyncio.timeout(10):
            while host.room not in hub.rooms:
                await asyncio.sleep(0.01)
        # Nobody was here for long enough.
        await hub.forget(hub.rooms[host.room])
        yield offer[100:]

    reply = await client.session.post(
        f"{client.url}/rooms/{host.room}/{what}", data=slowly(), headers={**host.auth, **SDP}
    )
    assert reply.status == 201
    assert len(hub.rooms[host.room].sessions) == 1
    gone = await client.session.delete(client.url + reply.headers["Location"], headers=host.auth)
    assert gone.status == 200
    await peer.close()


async def test_a_token_for_another_room(client: Client) -> None:
    one, other = await client.create(), await client.create()
    reply = await client.session.post(
        f"{client.url}/rooms/{one.room}/whep", data="x", headers={**other.auth, **SDP}
    )
    assert await problem(reply) == (403, "forbidden")


async def test_a_room_that_is_gone(client: Client, server: Server) -> None:
    host = await client.create()
    await server.context.store.redis.flushall()
    reply = await client.session.post(
        f"{client.url}/rooms/{host.room}/whip", data="x", headers={**host.auth, **SDP}
    )
    assert await problem(reply) == (404, "room_not_found")


async def test_a_full_server(start: Starter) -> None:
    media = MediaSettings(host=["127.0.0.1"], port=0, advertise=["127.0.0.1"], max_peers=1)
    server = await start(media=media)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        opener = Opener(server)
        first = await opener(host, "whep")
        reply = await session.post(
            f"{server.url}/rooms/{host.room}/whep",
            data=first.peer.offer("listen"),
            headers={**host.auth, **SDP},
        )
        assert await problem(reply) == (503, "room_full")
        assert int(reply.headers["Retry-After"]) > 0
        await first.peer.close()


async def test_a_server_at_its_limit_says_so_and_keeps_who_is_in(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shedding, "EVERY_S", 0.02)
    server = await start()
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        guest, late = await client.join(host.room), await client.join(host.room)
        opener = Opener(server)
        inside = await opener(guest, "whep")
        plane = server.context.media._plane
        monkeypatch.setattr(plane, "backlog", lambda: Backlog(busy=1.0, late_ms=700, shed=9))

        async def metrics() -> str:
            return await (await session.get(f"{server.url}/metrics")).text()

        async with asyncio.timeout(10):
            while "\nchatroom_media_load_level 3\n" not in await metrics():
                await asyncio.sleep(0.02)
        text = await metrics()
        for line in ("load_refusing 1", "load_busy 1", "load_packing_floor_ms 120", "shed_total 0"):
            assert f"\nchatroom_media_{line}\n" in text
        assert float(text.split("\nchatroom_media_load_late_ms ")[1].split()[0]) >= 700
        offer = inside.peer.offer("listen")
        url = f"{server.url}/rooms/{host.room}/whep"
        reply = await session.post(url, data=offer, headers={**late.auth, **SDP})
        body = await reply.json()
        assert (reply.status, body["code"]) == (503, "room_full")
        assert "keep clean sound" in body["detail"]
        assert 10 <= int(reply.headers["Retry-After"]) <= 20
        # Those on stage, who publish, and who are in already.
        for person, kind in ((host, "whep"), (host, "whip"), (guest, "whep")):
            reply = await session.post(
                f"{server.url}/rooms/{host.room}/{kind}",
                data=inside.peer.offer("listen" if kind == "whep" else "publish"),
                headers={**person.auth, **SDP},
            )
            assert reply.status == 201
        await inside.peer.close()


# ------------------------------------------------------------------------------- headers


async def test_preflight(client: Client) -> None:
    for path, header in [
        ("/rooms/any/whip", "Accept-Post"),
        ("/rooms/any/whep", "Accept-Post"),
        ("/sessions/any", "Accept-Patch"),
    ]:
        reply = await client.session.options(
            client.url + path,
            headers={"Origin": "https://other.example", "Access-Control-Request-Method": "POST"},
        )
        assert reply.status == 200
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert "Authorization" in reply.headers["Access-Control-Allow-Headers"]
        assert reply.headers[header].startswith("application/")
    assert (await client.session.get(f"{client.url}/rooms/any/whip")).status == 405


async def test_ice_servers_are_told(start: Starter) -> None:
    server = await start(
        ice_servers=["stun:stun.example.org:3478", "turn:turn.example.org:3478 alice secret"]
    )
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        peer = await TestPeer.open(("127.0.0.1", server.context.media.port))
        reply = await session.post(
            f"{server.url}/rooms/{host.room}/whip",
            data=peer.offer("publish"),
            headers={**host.auth, **SDP},
        )
        assert reply.headers.getall("Link") == [
            '<stun:stun.example.org:3478>; rel="ice-server"',
            '<turn:turn.example.org:3478>; rel="ice-server"; username="alice"; '
            'credential="secret"; credential-type="password"',
        ]
        exposed = reply.headers["Access-Control-Expose-Headers"]
        assert all(name in exposed for name in ("Location", "ETag", "Link"))
        await peer.close()
