"""The media port over real UDP: ICE, DTLS and SRTP on both sides, and what people hear."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiortc.sdp import SessionDescription

from chatroom.errors import BadOffer, NoOpus, RoomFull, SessionNotFound
from media import levels, opus, rtcp, rtp
from media.events import Frame
from media.levels import AudioLevel
from media.port import MediaPort
from media.rtcp import SenderReport
from media.settings import MediaSettings
from tests.media.client import TestPeer
from tests.media.conftest import PLANES

TOC = 31 << 3
SETTINGS = MediaSettings(host=["127.0.0.1", "::1"], port=0, report_interval_s=0.5)


@dataclass
class Events:
    """A `MediaEvents` that keeps what it is told."""

    talking: list[tuple[str, tuple[str | None, ...]]] = field(default_factory=list)
    frames: list[tuple[str, str, Frame]] = field(default_factory=list)
    sessions: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(participant, kind, state, reason)"""
    fail: bool = False

    def talking_changed(self, room: str, slots: tuple[str | None, ...]) -> None:
        self.talking.append((room, slots))
        assert not self.fail

    def frame_received(self, room: str, participant: str, frame: Frame) -> None:
        self.frames.append((room, participant, frame))
        assert not self.fail

    def session_changed(
        self, room: str, participant: str, session: str, kind: str, state: str, reason: str
    ) -> None:
        self.sessions.append((participant, kind, state, reason))
        assert not self.fail


async def until(true: Callable[[], object], timeout_s: float = 10.0) -> None:
    """Wait for something that will be so."""
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.005)


@dataclass
class Person:
    """A client with one session."""

    name: str
    session: str
    client: TestPeer
    answer: str
    payload_type: int
    ssrc: int = 0
    spoken: int = 0

    def packet(self, dbov: int = 30) -> bytes:
        number = self.spoken
        self.spoken += 1
        return rtp.build(
            rtp.RtpPacket(
                self.payload_type,
                (65_530 + number) & 0xFFFF,
                (0xFFFF_F000 + 960 * number) & 0xFFFF_FFFF,
                self.ssrc,
                bytes((TOC,)) + self.name.encode() + number.to_bytes(4, "big") + bytes(20),
                extensions={1: levels.build(AudioLevel(dbov, True))},
            )
        )

    def say(self, dbov: int = 30) -> None:
        self.client.send_rtp(self.packet(dbov))

    @property
    def ssrcs(self) -> list[int]:
        return [s.ssrc for m in SessionDescription.parse(self.answer).media for s in m.ssrc]

    def heard(self) -> list[rtp.RtpPacket]:
        """What has arrived since the last call."""
        out = []
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                out.append(rtp.parse(self.client.rtp.get_nowait()))
        return out


def words(packets: list[rtp.RtpPacket]) -> list[tuple[str, int]]:
    """(speaker, number) of every frame with sound."""
    parts = [part[1:] for packet in packets for part in opus.split(packet.payload)]
    return [(part[:-24].decode(), int.from_bytes(part[-24:-20], "big")) for part in parts if part]


def check_stream(packets: list[rtp.RtpPacket]) -> None:
    """Per SSRC, sequence numbers go on and time moves forward."""
    streams: dict[int, list[rtp.RtpPacket]] = {}
    for packet in packets:
        streams.setdefault(packet.ssrc, []).append(packet)
    for stream in streams.values():
        for before, after in itertools.pairwise(stream):
            assert after.sequence == (before.sequence + 1) & 0xFFFF
            step = after.timestamp - before.timestamp & 0xFFFF_FFFF
            assert opus.packet_samples(before.payload) <= step < 1 << 31


@dataclass
class Hall:
    """A port, and the clients of it."""

    port: MediaPort
    events: Events
    people: list[Person] = field(default_factory=list)

    async def open_client(self, host: str = "127.0.0.1") -> TestPeer:
        return await TestPeer.open((host, self.port.port))

    async def publish(self, name: str, room: str = "r") -> Person:
        client = await self.open_client()
        session = await self.port.publish(room, name, client.offer("publish", payload_type=109))
        return await self._connect(Person(name, session.id, client, session.answer, 109))

    async def listen(
        self,
        name: str,
        room: str = "r",
        *,
        sections: int = 3,
        stage: bool = False,
        pt: int = 111,
        host: str = "127.0.0.1",
    ) -> Person:
        client = await self.open_client(host)
        offer = client.offer("listen", sections=sections, payload_type=pt, nack=True)
        session = await self.port.listen(room, name, offer, on_stage=stage)
        return await self._connect(Person(name, session.id, client, session.answer, pt))

    async def _connect(self, person: Person) -> Person:
        person.ssrc = random.getrandbits(31) + 1
        self.people.append(person)
        person.client.accept(person.answer)
        await person.client.connect()
        await until(lambda: self.port.peer_stats(person.session)["connected"])
        return person

    async def talk(self, *speakers: Person, packets: int = 10) -> None:
        """Each says so many packets; all have arrived here when it returns."""
        for _ in range(packets):
            wanted = len(self.events.frames) + len(speakers)
            for speaker in speakers:
                speaker.say()
            await until(lambda wanted=wanted: len(self.events.frames) >= wanted)  # type: ignore[misc]


OpenHall = Callable[..., Awaitable[Hall]]


@pytest.fixture(params=[name for name in ("python", "native") if name in PLANES])
async def open_hall(request: pytest.FixtureRequest) -> AsyncIterator[OpenHall]:
    """Opens a hall on every kind of data plane there is."""
    halls: list[Hall] = []

    async def opener(**changes: Any) -> Hall:
        events = Events()
        settings = replace(SETTINGS, plane=request.param, **changes)
        port = await MediaPort.open(settings, events)
        assert port.plane_name == request.param
        halls.append(Hall(port, events))
        return halls[-1]

    yield opener
    for hall in halls:
        for person in hall.people:
            await person.client.close()
        await hall.port.close()


async def hears(person: Person, count: int) -> list[rtp.RtpPacket]:
    """The next packets."""
    return [rtp.parse(await person.client.next_rtp()) for _ in range(count)]


async def test_a_listener_hears_the_same_packets_in_order(open_hall: OpenHall) -> None:
    hall = await open_hall()
    listener = await hall.listen("x", pt=96)
    speaker = await hall.publish("a")
    await hall.talk(speaker, packets=20)
    packets = await hears(listener, 20)
    assert words(packets) == [("a", number) for number in range(20)]
    assert {packet.payload_type for packet in packets} == {96}
    assert {packet.ssrc for packet in packets} <= set(listener.ssrcs)
    assert packets[0].marker
    assert all(not packet.extensions for packet in packets)
    check_stream(packets)
    frames = [frame for _, _, frame in hall.events.frames]
    assert [frame.payload for frame in frames] == [packet.payload for packet in packets]
    assert {b.sequence - a.sequence for a, b in itertools.pairwise(frames)} == {1}
    assert {b.timestamp - a.timestamp for a, b in itertools.pairwise(frames)} == {960}
    assert {frame.level_dbov for frame in frames} == {30}
    assert hall.events.talking == [("r", ("a", None, None))]
    assert hall.port.slots("r") == ("a", None, None)
    assert hall.port.listeners("r") == 1
    assert hall.events.sessions == [
        ("x", "listen", "connected", ""),
        ("a", "publish", "connected", ""),
    ]


async def test_three_speakers_and_nobody_on_stage_hears_themself(open_hall: OpenHall) -> None:
    hall = await open_hall()
    hall.port.set_stage("r", frozenset("abc"))
    speakers = [await hall.publish(name) for name in "abc"]
    on_stage = [await hall.listen(name, stage=True) for name in "abc"]
    audience = await hall.listen("x")
    await hall.talk(*speakers, packets=10)
    heard = await hears(audience, 30)
    check_stream(heard)
    assert len({packet.ssrc for packet in heard}) == 3
    assert sorted(words(heard)) == [(name, n) for name in "abc" for n in range(10)]
    for person in on_stage:
        packets = await hears(person, 20)
        check_stream(packets)
        others = [name for name in "abc" if name != person.name]
        assert sorted(words(packets)) == [(name, n) for name in others for n in range(10)]
        assert person.heard() == []


async def test_moving_between_audience_and_stage_leaves_no_gap(open_hall: OpenHall) -> None:
    hall = await open_hall(pack_60_from=1)
    speaker = await hall.publish("a")
    mover = await hall.listen("x", pt=100)
    other = await hall.listen("y", pt=101)
    for stage in ({"x"}, set(), {"x"}, set()):
        await hall.talk(speaker, packets=7)
        hall.port.set_stage("r", frozenset(stage))
    await hall.talk(speaker, packets=9)
    said = [("a", number) for number in range(speaker.spoken)]
    for person in (mover, other):
        packets: list[rtp.RtpPacket] = []
        while len(words(packets)) < len(said):
            packets += await hears(person, 1)
        assert words(packets) == said
        check_stream(packets)
    assert mover.client.undecryptable == 0


async def test_a_player_with_one_section_follows_the_dominant_speaker(open_hall: OpenHall) -> None:
    hall = await open_hall()
    a, b = await hall.publish("a"), await hall.publish("b")
    player = await hall.listen("x", sections=1)
    await hall.talk(a, b, packets=5)
    packets = await hears(player, 5)
    assert len(player.ssrcs) == 1
    assert {packet.ssrc for packet in packets} == set(player.ssrcs)
    assert {name for name, _ in words(packets)} == {"a"}


async def test_muted_at_the_server_goes_nowhere(open_hall: OpenHall) -> None:
    hall = await open_hall()
    speaker = await hall.publish("a")
    listener = await hall.listen("x")
    await hall.talk(speaker, packets=5)
    hall.port.set_muted("r", "a", True)
    assert hall.port.slots("r") == (None, None, None)
    for _ in range(5):
        speaker.say()
    await until(lambda: hall.port.peer_stats(speaker.session)["packets"] == 10)
    assert len(hall.events.frames) == 5
    hall.port.set_muted("r", "a", False)
    await hall.talk(speaker, packets=5)
    packets = await hears(listener, 11)
    assert words(packets) == [("a", number) for number in (0, 1, 2, 3, 4, 10, 11, 12, 13, 14)]
    check_stream(packets)


async def test_mutes_and_stage_are_kept_for_who_connects_later(open_hall: OpenHall) -> None:
    hall = await open_hall()
    hall.port.set_muted("r", "a", True)
    hall.port.set_stage("r", frozenset("b"))
    a, b = await hall.publish("a"), await hall.publish("b")
    listener = await hall.listen("b", stage=True)
    a.say()
    await until(lambda: hall.port.peer_stats(a.session)["packets"] == 1)
    await hall.talk(b, packets=3)
    assert [name for _, name, _ in hall.events.frames] == ["b"] * 3
    assert listener.heard() == []


async def test_a_lost_packet_is_sent_again_when_asked_for(open_hall: OpenHall) -> None:
    hall = await open_hall()
    speaker = await hall.publish("a")
    people = [await hall.listen("x"), await hall.listen("y", stage=True)]
    await hall.talk(speaker, packets=1)
    firsts = [(await hears(person, 1))[0] for person in people]
    for person in people:
        person.client.to_lose = 1
    await hall.talk(speaker, packets=2)
    for person, first in zip(people, firsts, strict=True):
        assert words(await hears(person, 1)) == [("a", 2)]
        nack = rtcp.Nack(1, first.ssrc, ((first.sequence + 1) & 0xFFFF,))
        person.client.send_rtcp(rtcp.build_nack(nack))
        assert words(await hears(person, 1)) == [("a", 1)]


async def test_reports_both_ways(open_hall: OpenHall) -> None:
    hall = await open_hall()
    speaker = await hall.publish("a")
    people = [await hall.listen("x"), await hall.listen("y", stage=True)]
    await hall.talk(speaker, packets=10)
    for person in people:
        (report,) = rtcp.parse(await person.client.next_rtcp())
        assert isinstance(report, SenderReport)
        assert report.ssrc in person.ssrcs
        assert report.packets == 10
    (answer,) = rtcp.parse(await speaker.client.next_rtcp())
    assert isinstance(answer, rtcp.ReceiverReport)
    assert [block.ssrc for block in answer.blocks] == [speaker.ssrc]
    block = rtcp.ReportBlock(people[1].ssrcs[0], fraction_lost=64, jitter=480)
    people[1].client.send_rtcp(rtcp.build_receiver_report(rtcp.ReceiverReport(1, (block,)), "y"))
    await until(lambda: hall.port.peer_stats(people[1].session)["reported"])
    (reported,) = hall.port.peer_stats(people[1].session)["reported"].values()
    assert (reported["fraction_lost"], reported["jitter_ms"]) == (0.25, 10)
    assert hall.port.peer_stats(speaker.session)["packets"] == 10
    assert hall.port.peer_stats(speaker.session)["lost"] == 0
    stats = hall.port.stats()
    assert (stats["rooms"], stats["publishers"], stats["audience"], stats["stage"]) == (1, 1, 1, 1)
    assert hall.port.room_stats("r")["packing_ms"] == 20
    assert hall.port.room_stats("elsewhere") == {}
    json.dumps(stats)


async def test_silent_peers_are_gone_by_consent(open_hall: OpenHall) -> None:
    hall = await open_hall(consent_timeout_s=0.5)
    listener = await hall.listen("x")
    await until(lambda: hall.events.sessions[-1] == ("x", "listen", "closed", "consent"))
    with pytest.raises(SessionNotFound):
        hall.port.session(listener.session)
    assert hall.port.listeners("r") == 0
    assert hall.port.stats()["peers"] == hall.port.stats()["groups"] == 0


async def test_a_session_that_never_connects_is_closed(open_hall: OpenHall) -> None:
    hall = await open_hall(connect_timeout_s=0.2)
    client = await hall.open_client()
    session = await hall.port.listen("r", "x", client.offer("listen"), on_stage=False)
    await until(lambda: hall.events.sessions)
    assert hall.events.sessions == [("x", "listen", "closed", "never connected")]
    with pytest.raises(SessionNotFound):
        hall.port.session(session.id)
    await client.close()


async def test_ice_restart_keeps_the_sound(open_hall: OpenHall) -> None:
    hall = await open_hall()
    speaker = await hall.publish("a")
    listener = await hall.listen("x")
    await hall.talk(speaker, packets=3)
    etag = hall.port.session(listener.session).etag
    client = listener.client
    client.ufrag, client.password = "restarted", "p" * 24
    credentials = f"a=ice-ufrag:{client.ufrag}\r\na=ice-pwd:{client.password}\r\n"
    answer = await hall.port.restart(listener.session, f"m=audio 9 RTP/AVP 0\r\n{credentials}")
    lines = dict(
        line[2:].split(":", 1) for line in answer.split() if "=ice-" in line and ":" in line
    )
    assert lines["ice-ufrag"] != client.server_ufrag
    assert hall.port.session(listener.session).etag != etag
    client.server_ufrag, client.server_password = lines["ice-ufrag"], lines["ice-pwd"]
    await client.move()
    await client.check()
    await hall.talk(speaker, packets=3)
    packets = await hears(listener, 6)
    assert words(packets) == [("a", number) for number in range(6)]
    check_stream(packets)
    with pytest.raises(BadOffer):
        await hall.port.restart(listener.session, "nonsense")


async def test_bad_packets_of_one_peer_disturb_nobody(open_hall: OpenHall) -> None:
    hall = await open_hall()
    rng = random.Random(5)
    speaker, villain = await hall.publish("a"), await hall.publish("v")
    listener = await hall.listen("x")
    stranger = await hall.open_client()
    for size in (0, 1, 3, 12, 40, 200, 1400):
        for first in (0, 2, 22, 64, 128, 144, 200):
            junk = bytes((first,)) + rng.randbytes(size)
            villain.client.send_raw(junk)
            stranger.send_raw(junk)
    packet = villain.packet()
    for bad in (
        packet[:12],
        packet[:13],
        packet[:-24],
        packet[:12] + b"\xff" * 40,
        packet[:12] + bytes((TOC | 3, 0)),
        b"\x8f" + packet[1:20],
        b"\xb0" + packet[1:],
        bytes((packet[0], 77)) + packet[2:],
    ):
        with contextlib.suppress(Exception):
            villain.client.send_rtp(bad)
    villain.client.send_rtcp(b"\x81\xc8\x00\x50" + bytes(8))
    await hall.talk(speaker, packets=10)
    packets = [p for p in await hears(listener, 10) if words([p])[0][0] == "a"]
    packets += [p for p in listener.heard() if words([p])[0][0] == "a"]
    check_stream(packets)
    assert len(words(packets)) == 10
    assert hall.port.stats()["errors"] == {}
    await stranger.close()


async def test_hanging_up_and_leaving(open_hall: OpenHall) -> None:
    hall = await open_hall()
    listener, other = await hall.listen("x"), await hall.listen("y")
    speaker = await hall.publish("a")
    await hall.talk(speaker, packets=2)
    await hall.port.hang_up(listener.session, "removed")
    assert hall.events.sessions[-1] == ("x", "listen", "closed", "removed")
    with pytest.raises(SessionNotFound):
        await hall.port.hang_up(listener.session, "again")
    await other.client.dtls.stop()
    await until(lambda: hall.port.listeners("r") == 0)
    assert hall.events.sessions[-1][:3] == ("y", "listen", "closed")
    await hall.port.close_room("r", "ended")
    assert hall.events.sessions[-1] == ("a", "publish", "closed", "ended")
    stats = hall.port.stats()
    assert (stats["sessions"], stats["peers"], stats["groups"], stats["rooms"]) == (0, 0, 0, 0)
    assert hall.port.slots("r") == (None, None, None)


async def test_close_participant_ends_all_of_somebodys_sessions(open_hall: OpenHall) -> None:
    hall = await open_hall()
    await hall.listen("a", stage=True)
    await hall.publish("a")
    await hall.listen("x")
    await hall.port.close_participant("r", "a", "removed")
    assert hall.port.listeners("r") == 1
    assert hall.events.sessions[-2:] == [
        ("a", "listen", "closed", "removed"),
        ("a", "publish", "closed", "removed"),
    ]


async def test_publishing_again_replaces_the_older_session(open_hall: OpenHall) -> None:
    hall = await open_hall()
    listener = await hall.listen("x")
    first = await hall.publish("a")
    await hall.talk(first, packets=2)
    second = await hall.publish("a")
    assert ("a", "publish", "closed", "replaced by a newer session") in hall.events.sessions
    await hall.talk(second, packets=2)
    packets = await hears(listener, 5)
    assert words(packets) == [("a", 0), ("a", 1), ("a", 0), ("a", 1)]
    check_stream(packets)


async def test_offers_that_cannot_be_answered(open_hall: OpenHall) -> None:
    hall = await open_hall(max_peers=1)
    client = await hall.open_client()
    with pytest.raises(BadOffer):
        await hall.port.publish("r", "a", "v=0\r\nnonsense")
    with pytest.raises(NoOpus):
        await hall.port.publish("r", "a", client.offer("publish").replace("opus", "speex"))
    await hall.port.listen("r", "x", client.offer("listen"), on_stage=False)
    with pytest.raises(RoomFull):
        await hall.port.listen("r", "y", client.offer("listen"), on_stage=False)
    await client.close()


async def test_who_left_leaves_nothing_for_the_collector(open_hall: OpenHall) -> None:
    # A full collection stops everything for as long as a crowd has objects, so it is put off; a
    # crowd that left must be gone without it.
    hall = await open_hall()

    def sessions() -> int:
        gone = ("media.port._Session", "media.peer.Peer", "media.forward.Listener")
        kinds = (f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.get_objects())
        return sum(kind in gone for kind in kinds)

    gc.collect()
    before = sessions()
    gc.disable()
    try:
        for number in range(3):
            listener = await hall.listen(f"x{number}")
            assert sessions() > before
            await hall.port.hang_up(listener.session, "left")
        # One that never connects.
        client = await hall.open_client()
        session = await hall.port.listen("r", "y", client.offer("listen"), on_stage=False)
        await hall.port.hang_up(session.id, "left")
        del session, listener
        await asyncio.sleep(0)
        assert sessions() == before
    finally:
        gc.enable()


async def test_many_who_connect_at_once_come_in_turns(open_hall: OpenHall) -> None:
    hall = await open_hall(max_connecting=1)
    await hall.listen("x")  # connected, so it does not count any more
    client = await hall.open_client()
    first = await hall.port.listen("r", "y", client.offer("listen"), on_stage=False)
    assert hall.port.stats()["connecting"] == 1
    with pytest.raises(RoomFull) as refusal:
        await hall.port.listen("r", "z", client.offer("listen"), on_stage=False)
    assert refusal.value.retry_after_s == 2.0
    # Speakers are let in, and who gives up makes room.
    second = await hall.port.publish("r", "s", client.offer("publish"))
    assert hall.port.stats()["connecting"] == 2
    for session in (first, second):
        await hall.port.hang_up(session.id, "gives up")
    assert hall.port.stats()["connecting"] == 0
    await hall.port.listen("r", "z", client.offer("listen"), on_stage=False)
    await client.close()


async def test_a_failing_floor_above_harms_no_sound(open_hall: OpenHall) -> None:
    hall = await open_hall()
    hall.events.fail = True
    listener = await hall.listen("x")
    speaker = await hall.publish("a")
    await hall.talk(speaker, packets=5)
    assert words(await hears(listener, 5)) == [("a", number) for number in range(5)]
    assert hall.port.stats()["errors"]


async def test_sections_beyond_the_slots_are_refused(open_hall: OpenHall) -> None:
    hall = await open_hall(slots=2)
    client = await hall.open_client()
    session = await hall.port.listen("r", "x", client.offer("listen", sections=4), on_stage=False)
    media = SessionDescription.parse(session.answer).media
    assert [bool(section.port) for section in media] == [True, True, False, False]
    await client.close()


async def test_what_a_speaker_left_waiting_is_sent_by_the_clock(open_hall: OpenHall) -> None:
    hall = await open_hall(pack_60_from=1, hold_ms=100)
    listener = await hall.listen("x")
    speaker = await hall.publish("a")
    await hall.talk(speaker, packets=1)
    packets = await hears(listener, 2)
    assert words(packets) == [("a", 0)]
    assert len(packets[1].payload) == 1
    await until(lambda: hall.port.slots("r") == (None, None, None))


async def test_advertised_addresses(open_hall: OpenHall) -> None:
    hall = await open_hall(advertise=["203.0.113.7", "2001:db8::7"])
    client = await hall.open_client()
    session = await hall.port.listen("r", "x", client.offer("listen"), on_stage=False)
    (media,) = SessionDescription.parse(session.answer).media
    assert {(c.ip, c.port) for c in media.ice_candidates} == {
        ("203.0.113.7", hall.port.port),
        ("2001:db8::7", hall.port.port),
    }
    await client.close()
    with pytest.raises(ValueError, match=r"media\.advertise"):
        await open_hall(advertise=["example.org"])


async def test_listeners_over_ipv6(open_hall: OpenHall) -> None:
    hall = await open_hall()
    listener = await hall.listen("x", host="::1")
    speaker = await hall.publish("a")
    await hall.talk(speaker, packets=3)
    assert words(await hears(listener, 3)) == [("a", number) for number in range(3)]


async def test_rooms_do_not_hear_one_another(open_hall: OpenHall) -> None:
    hall = await open_hall()
    here, there = await hall.listen("x", room="here"), await hall.listen("x", room="there")
    speaker = await hall.publish("a", room="here")
    await hall.talk(speaker, packets=3)
    assert len(await hears(here, 3)) == 3
    assert there.heard() == []
    assert hall.port.slots("there") == (None, None, None)
