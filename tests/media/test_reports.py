import itertools
import random

from media import rtcp, rtp
from media.instructions import ReportGroup, ReportPeer, SendPeer
from media.program import Feed, Listener, Program
from media.reports import Reporter
from media.rtcp import Goodbye, Nack, ReceiverReport, ReportBlock
from media.slots import Frame, Tuning
from media.source import Source


def reporter() -> Reporter:
    return Reporter(99, "room", 3.0, 1_000_000.0, random.Random(1))


def program_with(*listeners: Listener) -> Program:
    program = Program(1, Tuning(), 960, lambda: 7, random.Random(1))
    for listener in listeners:
        (program.stage if listener.on_stage else program.audience)[listener.session] = listener
    return program


def listener(session: str, *, stage: bool) -> Listener:
    return Listener(session, session, 111, stage, [Feed(7, 100)])


FRAME = Frame(0, 0, 960, False, b"\xf8abc", 1)


def test_reports_are_due_only_while_there_is_something_to_report() -> None:
    subject = reporter()
    assert not subject.due(100.0)
    subject.plan(100.0)
    assert subject.next_at is not None
    assert 101.5 <= subject.next_at <= 103.0
    subject.plan(101.0)
    assert subject.due(103.0)
    assert subject.reports([program_with()], {}, 103.0) == []
    assert subject.next_at is None


def test_each_gets_the_reports_that_concern_it() -> None:
    on_stage, audience = listener("s", stage=True), listener("x", stage=False)
    program = program_with(on_stage, audience)
    on_stage.feeds[0].rtp(FRAME, 111)
    for packed in program.lanes[0].packer.push(FRAME, 0.0):
        program.lanes[0].rtp(packed)
    source = Source("a", 111, None, itertools.count(1))
    source.receive(rtp.audio_packet(111, False, 5, 0, 42, b"\xf8abc"), 0.0)
    out = reporter().reports([program], {"p": source}, 1.0)
    assert [type(one) for one in out] == [ReportGroup, ReportPeer, ReportPeer]
    assert [one.session for one in out if isinstance(one, ReportPeer)] == ["s", "p"]
    (told,) = rtcp.parse(out[2].packet)  # type: ignore[union-attr]
    assert isinstance(told, ReceiverReport)
    assert (told.ssrc, told.blocks[0].ssrc) == (99, 42)


def test_what_listeners_say_is_kept_or_answered() -> None:
    subject, person = reporter(), listener("s", stage=True)
    packet, index = person.feeds[0].rtp(FRAME, 111) or (b"", 0)
    assert subject.received(person, Nack(1, 7, (index, 9)), 0.0) == [SendPeer("s", packet, index)]
    assert subject.received(person, Nack(1, 8, (index,)), 0.0) == []
    assert subject.received(person, Goodbye((1,)), 0.0) == []
    future = rtcp.middle(rtcp.ntp_time(1_000_050.0))
    report = ReceiverReport(1, (ReportBlock(7, last_report=future), ReportBlock(8)))
    assert subject.received(person, report, 0.0) == []
    assert list(person.reported) == [7]
    assert person.reported[7].rtt_ms is None
