"""History, allowance and reception of a group, with the clock as an argument."""

from __future__ import annotations

import struct

import pytest

from media import rtcp
from media.plane_group import MAX_HISTORY, NACKS_PER_S, History, NackAllowance, Receptions


def packet(index: int, ssrc: int = 1) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, index & 0xFFFF, 0, ssrc) + b"opus"


def test_history_is_a_second_long_and_bounded() -> None:
    history = History()
    for index in range(70_000, 70_100):
        history.keep(packet(index), index, now=(index - 70_000) * 0.02)
    found = history.find(1, 70_099, since=0, now=2.0)
    assert found is not None
    assert (found.index, found.order) == (70_099, 100)
    assert history.find(1, 70_040, since=0, now=2.0) is None
    assert history.find(1, 70_099, since=100, now=2.0) is None
    assert history.find(1, 70_099, since=0, now=4.0) is None
    assert history.find(2, 70_099, since=0, now=2.0) is None
    for index in range(2000):
        history.keep(packet(index, 2), index, now=2.0)
    kept = sum(history.find(2, index, since=0, now=2.0) is not None for index in range(2000))
    assert kept == MAX_HISTORY


def test_allowance_refills_with_time() -> None:
    allowance = NackAllowance()
    assert sum(allowance.take(100.0) for _ in range(200)) == NACKS_PER_S
    assert sum(allowance.take(100.5) for _ in range(200)) == NACKS_PER_S // 2
    assert sum(allowance.take(200.0) for _ in range(200)) == NACKS_PER_S


def test_round_trip_is_measured_from_the_sender_report() -> None:
    receptions = Receptions()
    ntp = rtcp.ntp_time(1_700_000_000.0)
    report = rtcp.build_sender_report(rtcp.SenderReport(1, ntp, 0, 0, 0), "server")
    receptions.sender_report(report, now=10.0)
    block = rtcp.ReportBlock(1, last_report=rtcp.middle(ntp), delay=65536 // 2)
    receptions.add(block, now=10.75)
    receptions.add(rtcp.ReportBlock(1, last_report=1234), now=10.75)
    assert receptions.take().rtt_ms_p50 == pytest.approx(250.0)


def test_many_reports_are_sampled_and_the_mean_is_exact() -> None:
    receptions = Receptions()
    for number in range(20_000):
        receptions.add(rtcp.ReportBlock(1, fraction_lost=number % 256, jitter=number % 480), 0.0)
    summary = receptions.take()
    assert summary.reports == 20_000
    assert summary.loss_mean == pytest.approx(0.497, abs=0.002)
    assert summary.loss_p95 == pytest.approx(0.95, abs=0.03)
    assert summary.jitter_ms_p50 == pytest.approx(5.0, abs=0.5)
