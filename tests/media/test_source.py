import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import levels, rtp
from media.levels import AudioLevel
from media.rtcp import SenderReport
from media.source import BURST_S, MAX_PAYLOAD_BYTES, Source

TOC = 31 << 3
PT = 111


def packet(
    sequence: int,
    *,
    timestamp: int | None = None,
    ssrc: int = 7,
    payload: bytes = bytes((TOC,)) + bytes(40),
    pt: int = PT,
    level: bytes | None = b"\x9e",
) -> bytes:
    return rtp.build(
        rtp.RtpPacket(
            pt,
            sequence & 0xFFFF,
            (sequence * 960 if timestamp is None else timestamp) & 0xFFFF_FFFF,
            ssrc,
            payload,
            extensions={} if level is None else {1: level},
        )
    )


def new_source() -> Source:
    return Source("a", PT, 1, itertools.count(1))


def test_packets_are_numbered_beyond_the_wrap() -> None:
    source = new_source()
    arrivals = [source.receive(packet(65_530 + n), n * 0.02) for n in range(12)]
    found = [arrival for arrival in arrivals if arrival]
    assert [b.sequence - a.sequence for a, b in itertools.pairwise(found)] == [1] * 11
    assert [b.timestamp - a.timestamp for a, b in itertools.pairwise(found)] == [960] * 11
    assert found[0].level == AudioLevel(30, True)
    assert len({arrival.epoch for arrival in found}) == 1


def test_levels_that_are_missing_or_malformed_are_assumed() -> None:
    source = new_source()
    for number, level in enumerate((None, b"abc")):
        arrival = source.receive(packet(number, level=level), 0)
        assert arrival is not None
        assert arrival.level.dbov == levels.UNKNOWN_DBOV
    assert source.stats().dropped == {"level_malformed": 1}


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (b"\x80", "rtp_malformed"),
        (packet(1, pt=9), "payload_type"),
        (packet(1, payload=b""), "empty"),
        (packet(1, payload=bytes((TOC | 3, 0))), "opus_malformed"),
        (packet(1, payload=bytes((TOC,)) + bytes(MAX_PAYLOAD_BYTES)), "too_large"),
        (packet(1, ssrc=8), "ssrc"),
        (packet(20_000), "sequence"),
    ],
)
def test_what_is_of_no_use_is_dropped_and_counted(bad: bytes, cause: str) -> None:
    source = new_source()
    assert source.receive(packet(0), 0.0)
    assert source.receive(bad, 0.02) is None
    assert source.stats().dropped == {cause: 1}
    assert source.receive(packet(1), 0.02)


def test_a_client_that_begins_anew_is_followed_and_numbers_go_up() -> None:
    source = new_source()
    first = source.receive(packet(40_000), 0.0)
    other = source.receive(packet(5, ssrc=8), 1.0)
    assert first
    assert other
    assert other.epoch != first.epoch
    assert other.sequence > first.sequence
    assert other.timestamp > first.timestamp


def test_a_jump_in_the_numbers_is_followed_at_the_second_packet() -> None:
    source = new_source()
    first = source.receive(packet(40_000), 0.0)
    assert source.receive(packet(100), 0.02) is None
    again = source.receive(packet(101), 0.04)
    assert first
    assert again
    assert again.epoch != first.epoch
    assert again.sequence > first.sequence
    assert source.stats().lost == 0


def test_loss_and_jitter_as_in_rfc_3550() -> None:
    source = new_source()
    for number in range(100):
        if number % 5:
            source.receive(packet(number + 1), number * 0.02 + (0.01 if number % 2 else 0))
    report = source.report(2.0)
    assert report is not None
    assert report.packets_lost == 19
    assert report.fraction_lost == 19 * 256 // 99
    assert report.highest_sequence & 0xFFFF == 100
    # Neighbours differ by 10 ms in their delay, but for the pairs around a lost one.
    assert 240 < report.jitter < 480
    assert source.stats().jitter_ms == pytest.approx(report.jitter / 48, abs=0.1)
    for number in range(100, 110):
        source.receive(packet(number + 1), number * 0.02)
    second = source.report(3.0)
    assert second is not None
    assert second.fraction_lost == 0
    assert second.packets_lost == 19
    assert source.report(4.0) is None


def test_the_publishers_report_is_answered() -> None:
    source = new_source()
    source.receive(packet(0), 0.0)
    source.sender_report(SenderReport(7, 0xAAAA_BBBB_CCCC_DDDD, 0, 1, 1), 1.0)
    source.sender_report(SenderReport(99, 1, 0, 1, 1), 1.0)
    report = source.report(1.5)
    assert report is not None
    assert (report.last_report, report.delay) == (0xBBBB_CCCC, 32_768)


def test_a_flood_is_held_back_and_speech_is_not() -> None:
    source = new_source()
    taken = sum(source.receive(packet(n), n * 0.001) is not None for n in range(2000))
    assert taken <= (BURST_S + 2) * 1.25 * 50
    calm = new_source()
    assert all(calm.receive(packet(n), n * 0.02) for n in range(2000))
    short = new_source()
    payload = bytes((28 << 3,)) + bytes(20)
    for n in range(2000):
        # 2.5 ms, the shortest there is
        assert short.receive(packet(n, timestamp=n * 120, payload=payload), n * 0.0025)


@given(st.lists(st.tuples(st.binary(max_size=40), st.integers(0, 70_000)), max_size=60))
def test_any_stream_is_taken_or_counted(stream: list[tuple[bytes, int]]) -> None:
    source = new_source()
    seen = 0
    for number, (payload, sequence) in enumerate(stream):
        seen += source.receive(packet(sequence, payload=payload), number * 0.02) is not None
        source.receive(payload, number * 0.02)
        source.report(number * 0.02)
    assert source.stats().packets == seen
