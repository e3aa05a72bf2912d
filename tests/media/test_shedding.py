"""Load that is shed by a real port: what the plane says of its load is played, the clock is not."""

from __future__ import annotations

import logging

import pytest

from chatroom.errors import RoomFull
from media import opus, shedding
from media.plane import Backlog
from tests.media.test_port import Hall, OpenHall, hears, open_hall, until, words

__all__ = ["open_hall"]

OVER = Backlog(late_ms=300.0, busy=0.97, datagrams=5000, shed=40)
CALM = Backlog(late_ms=1.0, busy=0.05, datagrams=500)


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shedding, "EVERY_S", 0.02)


def play(hall: Hall, monkeypatch: pytest.MonkeyPatch, told: Backlog) -> None:
    """The plane says this of its load from now on."""
    monkeypatch.setattr(hall.port._plane, "backlog", lambda: told)


def level(hall: Hall) -> int:
    found = hall.port.stats()["load"]["level"]
    assert isinstance(found, int)
    return found


async def test_an_overloaded_port_sheds_in_order_and_recovers(
    open_hall: OpenHall,
    pace: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "media.shedding")
    hall = await open_hall(calm_after_s=1.0)
    alice, bob = await hall.publish("alice"), await hall.listen("bob")
    play(hall, monkeypatch, Backlog())
    await hall.talk(alice, packets=2)
    assert {opus.packet_samples(p.payload) for p in await hears(bob, 2)} == {960}

    play(hall, monkeypatch, OVER)
    await until(lambda: level(hall) == 3)
    lines = [record.getMessage() for record in caplog.records]
    assert ["level 1" in line for line in lines] == [True, False, False]
    assert "at least 60 ms" in lines[0]
    assert "120 ms" in lines[1]
    assert "refused" in lines[2]
    assert all("97%" in line and "300 ms late" in line for line in lines)
    # Who is in hears on, in longer packets.
    await hall.talk(alice, packets=12)
    got = await hears(bob, 2)
    assert [opus.packet_samples(p.payload) for p in got] == [5760, 5760]
    assert words(got) == [("alice", n) for n in range(2, 14)]
    # A room that comes now has them too.
    eve, dan = await hall.publish("eve", "other"), await hall.listen("eve", "other", stage=True)
    assert hall.port.room_stats("other")["packing_ms"] == 120
    await hall.talk(eve, packets=1)
    assert dan.heard() == []
    # Newcomers are told why and when to come again; a listener's second session is let in.
    client = await hall.open_client()
    with pytest.raises(RoomFull, match=r"at its limit.*try again") as refused:
        await hall.port.listen("r", "carol", client.offer("listen"), on_stage=False)
    assert refused.value.retry_after_s is not None
    assert 1 <= refused.value.retry_after_s <= 2
    await client.close()
    await hall.listen("bob")
    assert hall.port.stats()["load"]["refusing"]

    play(hall, monkeypatch, CALM)
    await until(lambda: level(hall) == 0)
    assert await hall.listen("carol")
    assert hall.port.room_stats("r")["packing_ms"] == 20
    assert "level 0" in caplog.records[-1].getMessage()


async def test_what_fits_is_known_before_it_is_too_much(
    open_hall: OpenHall, pace: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hall = await open_hall(pack_60_from=1, pack_120_from=1)
    await hall.publish("alice")
    bob = await hall.listen("bob")
    # Each moment 60 % is taken by 2,000 datagrams to one listener.
    play(hall, monkeypatch, Backlog(busy=0.6, cpu=0.6, datagrams=2000))
    await until(lambda: hall.port.stats()["load"]["capacity"] == 1)
    assert level(hall) == 0
    assert hall.port.stats()["load"]["refusing"]
    with pytest.raises(RoomFull):
        await hall.listen("carol")
    await hall.listen("alice", stage=True)
    await hall.port.hang_up(bob.session, "test")
    await until(lambda: not hall.port.stats()["load"]["refusing"])


async def test_a_port_at_rest_says_so(open_hall: OpenHall, pace: None) -> None:
    hall = await open_hall()
    load = hall.port.stats()["load"]
    assert (load["level"], load["refusing"], load["packing_floor_ms"]) == (0, False, 20)
    assert load["datagram_us"] is load["capacity"] is None
