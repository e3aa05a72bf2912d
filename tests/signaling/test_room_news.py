"""Room news in the sound, from Redis to a listener that asks for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from chatroom.protocol import Caption
from media import padding, rtp
from media.bulletin_reader import NewsReader
from signaling.app import Server
from tests.media.client import TestPeer
from tests.signaling.client import Client, Person
from tests.signaling.conftest import Starter
from tests.signaling.test_api import problem

SDP = {"Content-Type": "application/sdp"}


def caption(number: int, *, final: bool = True, **translations: str) -> Caption:
    return Caption(
        utterance=f"u{number}",
        participant="host",
        name="Hana",
        revision=2,
        final=final,
        language="en",
        text=f"line {number}",
        start_ms=0,
        end_ms=10,
        translations=translations,
    )


class Ears:
    """A listener's sound, and what is read in it."""

    def __init__(self, peer: TestPeer) -> None:
        self.peer = peer
        self.reader = NewsReader()
        self.padded = 0
        self.told: list[dict[str, Any]] = []

    async def until(self, type: str, **fields: Any) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                for message in self.told:
                    if message["type"] == type and fields.items() <= message.items():
                        self.told.remove(message)
                        return message
                packet = rtp.parse(await self.peer.next_rtp(10))
                self.padded += bool(padding.padding_of(packet.payload))
                for told in self.reader.packet(packet.payload):
                    envelope = json.loads(told.body)
                    assert told.kept == (envelope["id"] is not None)
                    self.told.append(envelope["m"])


@pytest.fixture
async def peers() -> AsyncIterator[list[TestPeer]]:
    opened: list[TestPeer] = []
    yield opened
    for peer in opened:
        await peer.close()


async def listen(server: Server, who: Person, query: str, peers: list[TestPeer]) -> Ears:
    peer = await TestPeer.open(("127.0.0.1", server.context.media.port))
    peers.append(peer)
    reply = await who.client.session.post(
        f"{who.client.url}/rooms/{who.room}/whep{query}",
        data=peer.offer("listen", sections=3),
        headers={**who.auth, **SDP},
    )
    assert reply.status == 201, await reply.text()
    peer.accept(await reply.text())
    await peer.connect()
    return Ears(peer)


async def asked(server: Server, room: str, *languages: str) -> None:
    async with asyncio.timeout(10):
        while server.context.media.news_languages(room) != set(languages):
            await asyncio.sleep(0.01)


async def test_captions_come_in_the_sound_in_the_language_that_is_read(
    client: Client, server: Server, peers: list[TestPeer]
) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    socket = await ana.socket(captions="pt")
    ears = await listen(server, ana, "?news=pt", peers)
    await asked(server, host.room, "pt")
    store = server.context.store
    await store.post_caption(host.room, caption(1, pt="linha 1", de="Zeile 1"))
    got = (await ears.until("caption"))["caption"]
    assert (got["text"], got["translations"]) == ("line 1", {"pt": "linha 1"})
    await socket.until("caption")

    # From now on the socket is spared what the sound brings.
    await socket.send(type="set_news", in_sound=True)
    await socket.settled()
    await store.post_caption(host.room, caption(2, final=False))
    assert (await ears.until("caption"))["caption"]["utterance"] == "u2"
    assert [m["type"] for m in await socket.settled() if m["type"] != "hands"] == []

    await socket.send(type="set_captions", captions=None)
    await socket.until("captions_set")
    await asked(server, host.room, "")
    await store.post_caption(host.room, caption(3, pt="linha 3"))
    assert (await ears.until("caption"))["caption"]["translations"] == {}
    assert ears.reader.language == ""

    await socket.send(type="set_news", in_sound=False)
    await socket.settled()
    await store.post_caption(host.room, caption(4))
    assert (await socket.until("caption"))["caption"]["utterance"] == "u4"


async def test_who_comes_later_is_told_what_passes(
    client: Client, server: Server, peers: list[TestPeer]
) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    ears = await listen(server, ana, "?news=", peers)
    assert (await ears.until("presence"))["listeners"] >= 1
    assert (await ears.until("captions_status"))["status"]["state"] == "off"


async def test_a_language_read_in_the_sound_alone_is_wanted(
    client: Client, server: Server, peers: list[TestPeer]
) -> None:
    host = await client.create()
    await listen(server, await client.join(host.room), "?news=de", peers)
    await asked(server, host.room, "de")
    assert server.context.hub.rooms[host.room].audience(0.0)[1] == {"de"}


async def test_plain_players_and_wrong_languages(
    client: Client, server: Server, peers: list[TestPeer]
) -> None:
    host = await client.create()
    ana = await client.join(host.room)
    await listen(server, ana, "", peers)
    assert server.context.media.news_languages(host.room) == frozenset()
    reply = await client.session.post(
        f"{client.url}/rooms/{host.room}/whep?news=no%20language",
        data="v=0",
        headers={**ana.auth, **SDP},
    )
    assert await problem(reply) == (400, "bad_message")


async def test_an_operator_may_want_none_of_it(start: Starter, peers: list[TestPeer]) -> None:
    server = await start(news_in_sound=False)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        ana = await client.join(host.room)
        await listen(server, ana, "?news=pt", peers)
        await ana.command("set_captions", captions="de")
        assert server.context.media.news_languages(host.room) == frozenset()
