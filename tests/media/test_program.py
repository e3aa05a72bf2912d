import random

import pytest

from media import rtp
from media.packer import Packed
from media.program import HISTORY_PACKETS, MAX_RESENDS, Feed, Lane, Program
from media.slots import Frame, Tuning

PAYLOAD = b"\xf8abc"


def frame(number: int, run: int = 1, *, late: bool = False) -> Frame:
    return Frame(number, number * 960, 960, False, PAYLOAD, run, late)


def test_a_lane_counts_what_it_sends_and_reports_once() -> None:
    lane = Lane(7, 960, random.Random(1))
    assert lane.report(0.0, 0.0) is None
    packet = rtp.parse(lane.rtp(Packed(70_000, 2**33 + 5, True, PAYLOAD)))
    assert (packet.sequence, packet.timestamp, packet.ssrc, packet.marker) == (4464, 5, 7, True)
    report = lane.report(0.0, 0.0)
    assert report is not None
    assert (report.packets, report.octets) == (1, len(PAYLOAD))
    assert lane.report(1.0, 1.0) is None


def test_a_feed_goes_on_through_runs_and_moves() -> None:
    feed = Feed(7, 5000)
    indices = [sent[1] for n in (3, 4, 6) if (sent := feed.rtp(frame(n), 111))]
    assert indices == [5000, 5001, 5003]
    late = feed.rtp(frame(5, late=True), 111)
    assert late is not None
    assert late[1] == 5002
    other = feed.rtp(frame(90, run=2), 111)
    assert other is not None
    assert other[1] == 5004
    feed.to_audience(40)
    assert 40 + feed.offset == 5005
    feed.to_stage(43)
    # A late packet of before the move has no number of its own.
    assert feed.rtp(frame(91, run=2, late=True), 111) is None
    back = feed.rtp(frame(93, run=2), 111)
    assert back is not None
    assert back[1] == 5008
    assert feed.rtp(frame(92, run=2, late=True), 111) is None


def test_a_feed_sends_again_a_few_times_and_what_is_recent() -> None:
    feed = Feed(7, 65_530)
    for number in range(HISTORY_PACKETS + 10):
        feed.rtp(frame(number), 111)
    assert feed.again(65_530) is None
    recent = feed.again((65_530 + 20) & 0xFFFF)
    assert recent is not None
    assert recent[1] == 65_550
    for _ in range(MAX_RESENDS - 1):
        assert feed.again(65_550 & 0xFFFF) == recent
    assert feed.again(65_550 & 0xFFFF) is None


def test_nothing_from_before_a_move_is_sent_again() -> None:
    feed = Feed(7, 100)
    feed.rtp(frame(0), 111)
    feed.to_audience(0)
    feed.to_stage(5)
    assert feed.again(100) is None


def test_a_programs_deadline_is_the_earliest_of_its_parts() -> None:
    program = Program(2, Tuning(hold_s=1.0), 2880, iter(range(1, 9)).__next__, random.Random(1))
    assert program.ssrcs == (1, 2)
    assert program.deadline() is None
    program.selector.hear("a", 100, 5.0)
    assert program.deadline() == 6.0
    program.lanes[1].packer.push(frame(0), 5.0)
    assert program.deadline() == pytest.approx(5.08)
