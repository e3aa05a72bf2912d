# ruff: noqa: F811 -- the fixture is another module's
"""News in the sound over real UDP, on both data planes."""

from __future__ import annotations

import asyncio

import pytest

from chatroom.errors import SessionNotFound
from media import padding, rtp
from media.bulletin_reader import NewsReader, Told
from tests.media.test_port import (
    Hall,
    OpenHall,
    Person,
    check_stream,
    open_hall,  # noqa: F401
    until,
    words,
)


async def listen(hall: Hall, name: str, news: str | None) -> Person:
    client = await hall.open_client()
    offer = client.offer("listen", sections=3, payload_type=111, nack=True)
    session = await hall.port.listen("r", name, offer, on_stage=False, news=news)
    return await hall._connect(Person(name, session.id, client, session.answer, 111))


async def reads(person: Person, reader: NewsReader, text: bytes) -> list[rtp.RtpPacket]:
    """What is heard until this was read."""
    packets: list[rtp.RtpPacket] = []
    told: list[Told] = []
    async with asyncio.timeout(10):
        while all(one.body != text for one in told):
            packets.append(rtp.parse(await person.client.next_rtp()))
            told += reader.packet(packets[-1].payload)
    return packets


async def test_who_asks_for_news_gets_them_and_others_clean_packets(open_hall: OpenHall) -> None:
    hall = await open_hall()
    asks, plain = await listen(hall, "x", "pt"), await listen(hall, "y", None)
    assert hall.port.news_languages("r") == {"pt"}
    assert hall.port.news_languages("elsewhere") == frozenset()
    reader = NewsReader()
    # Nobody speaks: silence carries them.
    hall.port.bulletin("r", "pt", "k", b"before", kept=True)
    hall.port.bulletin("elsewhere", "pt", "k", b"nowhere", kept=True)
    heard = await reads(asks, reader, b"before")
    speaker = await hall.publish("a")
    await hall.talk(speaker, packets=5)
    hall.port.bulletin("r", "pt", "k", b"while talking", kept=True, age_s=0.5)
    await hall.talk(speaker, packets=5)
    heard += await reads(asks, reader, b"while talking")
    hall.port.set_captions(asks.session, "de")
    assert hall.port.news_languages("r") == {"de"}
    hall.port.bulletin("r", "de", "k", b"auf Deutsch", kept=True)
    await hall.talk(speaker, packets=5)
    heard += await reads(asks, reader, b"auf Deutsch")
    hall.port.set_captions(asks.session, None)
    assert hall.port.news_languages("r") == frozenset()
    await hall.talk(speaker, packets=5)
    said = [("a", number) for number in range(20)]
    async with asyncio.timeout(10):
        while words(heard) != said:
            heard.append(rtp.parse(await asks.client.next_rtp()))
    check_stream(heard)
    assert not padding.padding_of(heard[-1].payload)
    clean = plain.heard()
    assert words(clean) == said
    check_stream(clean)
    assert all(not padding.padding_of(packet.payload) for packet in clean)
    assert asks.client.undecryptable == 0
    with pytest.raises(SessionNotFound):
        hall.port.set_captions("nobody", "pt")


async def test_reception_is_told_for_each_language(open_hall: OpenHall) -> None:
    hall = await open_hall()
    await listen(hall, "x", "pt")
    await listen(hall, "y", "")
    await listen(hall, "z", None)
    assert set(hall.port.room_stats("r")["reception"]) == {"3", "3 pt", "3 "}
    await hall.port.close_room("r", "over")
    await until(lambda: hall.port.stats()["groups"] == 0)
