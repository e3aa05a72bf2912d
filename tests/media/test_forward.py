"""The forwarding loop with everybody in memory, on a virtual clock, over a bad network."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media import levels, opus, rtcp, rtp
from media.forward import Forwarder, Rules
from media.instructions import (
    Heard,
    JoinGroup,
    LeaveGroup,
    Output,
    ReportGroup,
    ReportPeer,
    SendGroup,
    SendPeer,
)
from media.levels import AudioLevel
from media.rtcp import Nack, ReceiverReport, ReportBlock, SenderReport
from tests.netem import Netem

TOC = 31 << 3
PT_IN, PT_AUDIENCE, PT_STAGE = 111, 96, 109
LEVEL_ID = 1
SPEECH, QUIET = 30, 100


@dataclass(frozen=True)
class Got:
    """One Opus frame that a listener heard, in the order of arrival."""

    index: int
    timestamp: int
    marker: bool
    payload: bytes

    @property
    def words(self) -> list[tuple[str, int]]:
        """(speaker, number) of the frames inside; closing silence left out."""
        parts = [part[1:] for part in opus.split(self.payload)]
        return [(part[:1].decode(), int.from_bytes(part[1:5], "big")) for part in parts if part]


class Stage:
    """A data plane in memory, and everybody's ears: what each session got, by SSRC."""

    def __init__(self, rules: Rules | None = None, seed: int = 1) -> None:
        self.forwarder = Forwarder(rules, rng=random.Random(seed), epoch_offset=1_700_000_000.0)
        self.now = 0.0
        self.groups: dict[str, JoinGroup] = {}
        self.got: dict[str, dict[int, list[Got]]] = defaultdict(lambda: defaultdict(list))
        self.reports: dict[str, list[bytes]] = defaultdict(list)
        self.heard: list[Heard] = []
        self.spoken: dict[str, int] = {}

    def run(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case JoinGroup():
                    self.groups[output.session] = output
                case LeaveGroup():
                    assert self.groups.pop(output.session).program == output.program
                case SendGroup():
                    for session, join in self.groups.items():
                        if (join.program, join.news) == (output.program, output.news):
                            ssrc = int.from_bytes(output.packet[8:12], "big")
                            self.hear(session, output.packet, output.index + join.offsets[ssrc])
                case SendPeer():
                    assert output.session not in self.groups
                    assert output.packet[1] & 0x7F == PT_STAGE
                    self.hear(output.session, output.packet, output.index)
                    assert output.index & 0xFFFF == int.from_bytes(output.packet[2:4], "big")
                case ReportGroup():
                    for session, join in self.groups.items():
                        if join.program == output.program:
                            self.reports[session].append(output.packet)
                case ReportPeer():
                    self.reports[output.session].append(output.packet)
                case Heard():
                    self.heard.append(output)

    def hear(self, session: str, packet: bytes, index: int) -> None:
        parsed = rtp.parse(packet)
        got = Got(index, parsed.timestamp, parsed.marker, parsed.payload)
        self.got[session][parsed.ssrc].append(got)

    def join(self, session: str, slots: int = 3, *, stage: bool = False) -> None:
        pt = PT_STAGE
        self.run(
            self.forwarder.add_listener(
                session, session.split("/")[0], slots, pt, on_stage=stage, now=self.now
            )
        )

    def publish(self, participant: str) -> None:
        session = f"{participant}/pub"
        self.run(self.forwarder.add_source(session, participant, PT_IN, LEVEL_ID, self.now))
        self.spoken.setdefault(participant, 0)

    def packet(
        self, participant: str, dbov: int | None = SPEECH, number: int | None = None
    ) -> bytes:
        """The next 20 ms of a speaker: the name's first letter, the number, and padding."""
        number = self.spoken[participant]
        self.spoken[participant] += 1
        body = participant[:1].encode() + number.to_bytes(4, "big") + bytes(20)
        return rtp.build(
            rtp.RtpPacket(
                PT_IN,
                (65_500 + number) & 0xFFFF,
                (0xFFFF_FF00 + number * 960) & 0xFFFF_FFFF,
                ord(participant[0]),
                bytes((TOC,)) + body,
                extensions={} if dbov is None else {LEVEL_ID: levels.build(AudioLevel(dbov, True))},
            )
        )

    def receive(self, participant: str, packet: bytes) -> None:
        self.run(self.forwarder.rtp_received(f"{participant}/pub", packet, self.now))

    def tick(self) -> None:
        deadline = self.forwarder.deadline()
        if deadline is not None and deadline <= self.now:
            self.run(self.forwarder.tick(self.now))

    def talk(self, seconds: float, **dbov: int | None) -> None:
        """Everybody named sends a packet every 20 ms."""
        for _ in range(round(seconds / 0.02)):
            for participant, level in dbov.items():
                self.receive(participant, self.packet(participant, level))
            self.now += 0.02
            self.tick()

    def wait(self, seconds: float) -> None:
        self.talk(seconds)

    def words(self, session: str) -> list[tuple[str, int]]:
        """Everything heard, of all slots, in the order of speakers and numbers."""
        return sorted(
            word for gots in self.got[session].values() for got in gots for word in got.words
        )

    def check_stream(self, session: str) -> None:
        """No index twice, none missing, and time goes on with the index."""
        for gots in self.got[session].values():
            indices = [got.index for got in gots]
            assert len(set(indices)) == len(indices)
            assert sorted(indices) == list(range(min(indices), max(indices) + 1))
            assert min(indices) < 0x8000
            in_order = sorted(gots, key=lambda got: got.index)
            for before, after in itertools.pairwise(in_order):
                step = after.timestamp - before.timestamp & 0xFFFF_FFFF
                assert opus.packet_samples(before.payload) <= step < 1 << 31


def said(speaker: str, numbers: range) -> list[tuple[str, int]]:
    return [(speaker, number) for number in numbers]


def test_a_listener_hears_every_packet_in_order() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.talk(1, a=SPEECH)
    assert room.words("x") == said("a", range(50))
    room.check_stream("x")
    assert room.forwarder.talking == ("a", None, None)
    assert len(room.heard) == 50
    assert [one.arrival.level.dbov for one in room.heard] == [SPEECH] * 50


def test_three_speak_at_once_in_three_slots_and_a_fourth_waits() -> None:
    room = Stage()
    for name in "abcd":
        room.publish(name)
    room.join("x")
    room.talk(1, a=SPEECH, b=SPEECH, c=SPEECH, d=SPEECH)
    assert len(room.got["x"]) == 3
    assert room.forwarder.talking == ("a", "b", "c")
    assert {speaker for speaker, _ in room.words("x")} == {"a", "b", "c"}
    room.check_stream("x")


def test_people_on_stage_do_not_hear_themselves() -> None:
    room = Stage()
    room.publish("a")
    room.publish("b")
    room.join("a", stage=True)
    room.join("b", stage=True)
    room.talk(1, a=SPEECH, b=SPEECH)
    assert room.words("a") == said("b", range(50))
    assert room.words("b") == said("a", range(50))
    room.check_stream("a")


def test_turns_in_one_slot_leave_no_gap_for_anybody() -> None:
    room = Stage(Rules(slots=1))
    for name in "ab":
        room.publish(name)
        room.join(name, slots=1, stage=True)
    room.join("x", slots=1)
    for speaker, other in ("ab", "ba", "ab", "ba"):
        room.talk(0.5, **{speaker: SPEECH, other: QUIET})
        room.talk(1.2, **{speaker: QUIET, other: QUIET})
    for session in "abx":
        room.check_stream(session)
    assert {speaker for speaker, _ in room.words("a")} == {"b"}


def test_a_program_of_one_follows_the_dominant_speaker() -> None:
    room = Stage()
    for name in "ab":
        room.publish(name)
    room.join("x", slots=1)
    room.talk(1, a=SPEECH, b=SPEECH)
    assert {speaker for speaker, _ in room.words("x")} == {"a"}
    room.talk(1, a=60, b=10)
    assert room.words("x")[-1][0] == "b"
    assert len(room.got["x"]) == 1
    room.check_stream("x")


def test_who_is_heard_hears_the_loudest_other_with_a_single_section() -> None:
    room = Stage()
    for name in "abc":
        room.publish(name)
        room.join(name, slots=1, stage=True)
    room.join("x", slots=1)
    room.talk(1, a=SPEECH, b=SPEECH + 3, c=SPEECH + 20)
    assert {speaker for speaker, _ in room.words("x")} == {"a"}
    heard = room.words("a")
    assert {speaker for speaker, _ in heard[5:]} == {"b"}
    assert len(heard) >= 49
    assert {speaker for speaker, _ in room.words("b") + room.words("c")} == {"a"}
    # The stand-in is heard by all now; the one who was hears them on, as everybody does.
    room.got.clear()
    room.talk(1, a=60, b=10)
    assert room.words("a") == said("b", range(50, 100))
    assert room.words("b")[-1][0] == "a"
    # Muted, gone and silent stand-ins make place for another.
    for silence in (
        lambda: room.run(room.forwarder.set_muted(frozenset("a"), room.now)),
        lambda: room.run(room.forwarder.remove_source("c/pub", room.now)),
    ):
        silence()
        room.got.clear()
        room.talk(0.5, a=40, b=10, c=50)
        assert {speaker for speaker, _ in room.words("b")} <= {"c"}
    room.run(room.forwarder.set_muted(frozenset(), room.now))
    room.talk(0.2, a=40, b=10)
    room.talk(2, b=10)
    room.wait(5)
    for name in "abcx":
        room.check_stream(name)


def test_turns_of_two_in_a_program_of_one_are_heard_whole() -> None:
    """Each hears all that the other says, whoever of them the audience hears."""
    room = Stage()
    for name in "ab":
        room.publish(name)
        room.join(name, slots=1, stage=True)
    for turn in range(6):
        room.talk(1, **({"a": 20, "b": 40} if turn % 2 else {"a": 40, "b": 20}))
    for name, other in ("ab", "ba"):
        assert {speaker for speaker, _ in room.words(name)} == {other}
        assert len(room.words(name)) >= 298
        room.check_stream(name)


def test_moving_between_audience_and_stage_loses_and_repeats_nothing() -> None:
    room = Stage(Rules(pack_60_from=1))
    room.publish("a")
    room.publish("b")
    room.join("x")
    room.join("y")
    for stage in ({"x"}, set(), {"x", "y"}, {"y"}, {"x"}, set()):
        room.talk(0.26, a=SPEECH, b=SPEECH)
        room.run(room.forwarder.set_stage(frozenset(stage), room.now))
    room.talk(0.3, a=SPEECH, b=SPEECH)
    for session in "xy":
        room.check_stream(session)
        assert room.words(session) == said("a", range(93)) + said("b", range(93))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30))
def test_no_packet_index_is_ever_used_twice_over_a_bad_network(seed: int) -> None:
    """Two packets under one index would be two plaintexts under one SRTP nonce."""
    rng = random.Random(seed)
    room = Stage(Rules(pack_60_from=rng.choice([1, 3, 100]), pack_120_from=100), seed)
    net = {
        name: Netem[bytes](seed + number, loss=0.05, delay_s=0.03, jitter_s=0.04, reorder=0.1)
        for number, name in enumerate("abcd")
    }
    for name in net:
        room.publish(name)
        room.join(name, stage=True)
    for name in "xyz":
        room.join(name, slots=rng.randint(1, 3))
    loud = dict.fromkeys(net, QUIET)
    stage = set(net)
    for _ in range(150):
        if rng.random() < 0.1:
            loud[rng.choice("abcd")] = rng.choice([10, 30, 40, QUIET, 127])
        if rng.random() < 0.1:
            stage ^= {rng.choice("abcdxyz")}
            room.run(room.forwarder.set_stage(frozenset(stage), room.now))
        if rng.random() < 0.03:
            room.run(room.forwarder.set_muted(frozenset(rng.sample("abcd", 1)), room.now))
        for name, network in net.items():
            network.send(room.packet(name, loud[name]), room.now)
            for _, packet in network.receive(room.now):
                room.receive(name, packet)
        room.now += 0.02
        room.tick()
    for streams in room.got.values():
        for gots in streams.values():
            indices = [got.index for got in gots]
            assert len(set(indices)) == len(indices)
            assert 0 <= min(indices) < 0x8000
            in_order = sorted(gots, key=lambda got: got.index)
            steps = [
                after.timestamp - before.timestamp & 0xFFFF_FFFF
                for before, after in itertools.pairwise(in_order)
            ]
            assert all(0 < step < 1 << 31 for step in steps)


def test_loss_before_us_is_a_hole_and_late_packets_fill_it() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.join("y", stage=True)
    packets = [room.packet("a") for _ in range(10)]
    for number in (0, 1, 2, 5, 3, 6, 7):
        room.receive("a", packets[number])
        room.now += 0.02
    for session in "xy":
        (gots,) = room.got[session].values()
        first = gots[0].index
        assert [got.index - first for got in gots] == [0, 1, 2, 5, 3, 6, 7]
        assert room.words(session) == said("a", range(4)) + said("a", range(5, 8))


def test_packing_grows_with_the_audience_and_shrinks_late() -> None:
    room = Stage(Rules(pack_60_from=3, pack_120_from=6))
    room.publish("a")
    for number in range(7):
        room.join(f"x{number}")
        room.talk(0.26, a=SPEECH)
        assert room.forwarder.packing_ms == (20, 20, 60, 60, 60, 120, 120)[number]
    for number, packing in ((6, 120), (5, 120), (4, 60), (3, 60), (2, 20)):
        room.run(room.forwarder.remove_listener(f"x{number}", room.now))
        room.talk(0.26, a=SPEECH)
        assert room.forwarder.packing_ms == packing
    room.talk(0.2, a=SPEECH)
    room.check_stream("x0")
    assert room.words("x0") == said("a", range(room.spoken["a"]))


def test_packed_packets_are_spread_over_time() -> None:
    room = Stage(Rules(pack_60_from=2, spread_s=0.01))
    sends: list[SendGroup] = []
    room.publish("a")
    room.join("x")
    room.join("y")
    for _ in range(3):
        outputs = room.forwarder.rtp_received("a/pub", room.packet("a"), room.now)
        sends += [output for output in outputs if isinstance(output, SendGroup)]
        room.now += 0.02
    assert len(sends) == 1
    assert 0 < sends[0].spread_s <= 0.01


def test_a_pause_is_filled_with_a_silent_frame_now_and_then_and_the_clock_goes_on() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.talk(0.5, a=SPEECH)
    room.talk(4, a=QUIET)
    (gots,) = room.got["x"].values()
    silent = [got for got in gots if got.payload == bytes((TOC,))]
    # The hold, then one at once and one every 0.8 s.
    assert len(silent) == 4
    assert gots[-4:] == silent
    room.talk(0.1, a=SPEECH)
    after = gots[gots.index(silent[-1]) + 1]
    assert after.marker
    assert after.index == silent[-1].index + 1
    assert after.timestamp - gots[0].timestamp & 0xFFFF_FFFF == pytest.approx(4.5 * 48_000, abs=999)
    room.check_stream("x")


def test_a_speaker_whose_packets_stop_is_freed_by_the_clock() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.talk(0.5, a=SPEECH)
    room.wait(1.1)
    assert room.forwarder.talking == (None, None, None)
    room.check_stream("x")


def test_muted_is_not_heard_nor_on_the_bus() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.talk(0.2, a=SPEECH)
    room.run(room.forwarder.set_muted(frozenset({"a"}), room.now))
    assert room.forwarder.talking == (None, None, None)
    room.talk(0.2, a=SPEECH)
    assert len(room.heard) == 10
    room.run(room.forwarder.set_muted(frozenset(), room.now))
    room.talk(0.2, a=SPEECH)
    assert len(room.heard) == 20
    assert room.words("x") == said("a", range(10)) + said("a", range(20, 30))
    room.check_stream("x")


def test_publishing_again_replaces_the_session_before() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.talk(0.2, a=SPEECH)
    room.run(room.forwarder.add_source("a/again", "a", PT_IN, LEVEL_ID, room.now))
    old = room.packet("a")
    room.receive("a", old)
    assert len(room.words("x")) == 10
    room.run(room.forwarder.rtp_received("a/again", room.packet("a"), room.now))
    assert len(room.words("x")) == 11
    assert room.forwarder.talking == ("a", None, None)
    room.check_stream("x")


def test_a_client_without_audio_levels_is_heard() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.talk(0.4, a=None)
    assert room.words("x") == said("a", range(20))


def test_sender_reports_map_the_wall_clock_and_count() -> None:
    room = Stage(Rules(report_interval_s=3))
    room.publish("a")
    room.join("x")
    room.join("y", stage=True)
    room.talk(4, a=SPEECH)
    for session in "xy":
        (gots,) = room.got[session].values()
        (report,) = rtcp.parse(room.reports[session][0])
        assert isinstance(report, SenderReport)
        assert report.packets >= 70
        assert report.octets == report.packets * len(gots[0].payload)
        # The reported moment lies on the line through what was sent.
        elapsed = report.ntp / 2**32 - rtcp.NTP_EPOCH - 1_700_000_000.0
        expected = gots[0].timestamp + elapsed * 48_000
        assert (report.timestamp - expected + 2**31) % 2**32 == pytest.approx(2**31, abs=960)


def test_publishers_are_told_of_their_loss() -> None:
    room = Stage(Rules(report_interval_s=3))
    room.publish("a")
    report = rtcp.build_sender_report(SenderReport(ord("a"), 0x1234_5678_9ABC, 0, 1, 1), "a")
    room.talk(0.02, a=SPEECH)
    room.run(room.forwarder.rtcp_received("a/pub", report, room.now))
    for number in range(1, 200):
        packet = room.packet("a")
        if number % 4:
            room.receive("a", packet)
        room.now += 0.02
        room.tick()
    (answer,) = rtcp.parse(room.reports["a/pub"][0])
    assert isinstance(answer, ReceiverReport)
    (block,) = answer.blocks
    assert block.ssrc == ord("a")
    assert block.fraction_lost / 256 == pytest.approx(0.25, abs=0.02)
    assert block.last_report == 0x1234_5678_9ABC >> 16
    assert block.delay > 65_536
    stats = room.forwarder.source_stats("a/pub")
    assert stats.lost == pytest.approx(50, abs=2)
    assert stats.jitter_ms < 1


def test_the_stage_may_ask_again_but_not_for_ever() -> None:
    room = Stage()
    room.publish("a")
    room.join("y", stage=True)
    room.talk(0.2, a=SPEECH)
    ((ssrc, gots),) = room.got["y"].items()
    nack = rtcp.build_nack(Nack(1, ssrc, (gots[3].index & 0xFFFF, 7)))
    for _ in range(5):
        room.run(room.forwarder.rtcp_received("y", nack, room.now))
    assert gots[10:] == [gots[3]] * 3


def test_the_stages_reports_are_kept() -> None:
    room = Stage()
    room.join("y", stage=True)
    (ssrc, *_) = room.forwarder.ssrcs(3)
    sent = rtcp.middle(rtcp.ntp_time(1_700_000_000.0 + room.now - 0.2))
    blocks = (
        ReportBlock(ssrc, 64, 3, 0, 480, sent, 65_536 // 10),
        ReportBlock(ssrc=1),
    )
    room.run(
        room.forwarder.rtcp_received(
            "y", rtcp.build_receiver_report(ReceiverReport(9, blocks), "y"), room.now
        )
    )
    ((reported_ssrc, reported),) = room.forwarder.listener_stats("y").items()
    assert reported_ssrc == ssrc
    assert (reported.fraction_lost, reported.packets_lost, reported.jitter_ms) == (0.25, 3, 10)
    assert reported.rtt_ms == pytest.approx(100, abs=1)


def test_nothing_is_pending_in_a_silent_room() -> None:
    room = Stage()
    room.publish("a")
    room.join("x")
    room.talk(0.5, a=SPEECH)
    room.wait(40)
    assert room.forwarder.deadline() is None


def test_slots_must_be_there() -> None:
    forwarder = Forwarder(Rules(slots=2))
    for slots in (0, 3):
        with pytest.raises(ValueError, match="slots"):
            forwarder.ssrcs(slots)


def test_unknown_sessions_are_ignored() -> None:
    room = Stage()
    assert room.forwarder.rtp_received("nobody", b"x", 0) == []
    assert room.forwarder.remove_source("nobody", 0) == []
    assert room.forwarder.remove_listener("nobody", 0) == []
    assert room.forwarder.idle
