import contextlib

import pytest
from aiortc.rtp import RtcpPacket, RtcpRrPacket, RtcpRtpfbPacket, RtcpSdesPacket, RtcpSrPacket
from hypothesis import given
from hypothesis import strategies as st

from media import rtcp
from media.rtcp import Goodbye, Nack, ReceiverReport, ReportBlock, RtcpError, SenderReport

u32 = st.integers(0, 0xFFFF_FFFF)
blocks = st.lists(
    st.builds(
        ReportBlock,
        ssrc=u32,
        fraction_lost=st.integers(0, 255),
        packets_lost=st.integers(-0x800000, 0x7FFFFF),
        highest_sequence=u32,
        jitter=u32,
        last_report=u32,
        delay=u32,
    ),
    max_size=4,
).map(tuple)
sender_reports = st.builds(
    SenderReport,
    ssrc=u32,
    ntp=st.integers(0, 2**64 - 1),
    timestamp=u32,
    packets=u32,
    octets=u32,
    blocks=blocks,
)
receiver_reports = st.builds(ReceiverReport, ssrc=u32, blocks=blocks)


@given(sender_reports, st.text(min_size=1, max_size=40))
def test_sender_reports_read_back(report: SenderReport, cname: str) -> None:
    assert rtcp.parse(rtcp.build_sender_report(report, cname)) == [report]


@given(receiver_reports)
def test_receiver_reports_read_back(report: ReceiverReport) -> None:
    assert rtcp.parse(rtcp.build_receiver_report(report, "x")) == [report]


@given(u32, u32, st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=40, unique=True))
def test_nacks_read_back(ssrc: int, media: int, sequences: list[int]) -> None:
    (nack,) = rtcp.parse(rtcp.build_nack(Nack(ssrc, media, tuple(sequences))))
    assert isinstance(nack, Nack)
    assert (nack.ssrc, nack.media_ssrc) == (ssrc, media)
    assert set(nack.sequences) == set(sequences)


@given(st.binary(max_size=120))
def test_any_bytes_are_messages_or_an_rtcp_error(data: bytes) -> None:
    with contextlib.suppress(RtcpError):
        rtcp.parse(data)


@given(sender_reports, st.data())
def test_damaged_reports_are_messages_or_an_rtcp_error(
    report: SenderReport, data: st.DataObject
) -> None:
    raw = bytearray(rtcp.build_sender_report(report, "someone"))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RtcpError):
        rtcp.parse(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


def test_another_implementation_reads_ours() -> None:
    report = SenderReport(5, 0x1234_5678_9ABC_DEF0, 960, 10, 800)
    sr, sdes = RtcpPacket.parse(rtcp.build_sender_report(report, "room"))
    assert isinstance(sr, RtcpSrPacket)
    assert isinstance(sdes, RtcpSdesPacket)
    assert (sr.ssrc, sr.sender_info.ntp_timestamp) == (5, report.ntp)
    assert (sr.sender_info.packet_count, sr.sender_info.octet_count) == (10, 800)
    block = ReportBlock(9, 128, -2, 70_000, 31, 7, 8)
    rr, _ = RtcpPacket.parse(rtcp.build_receiver_report(ReceiverReport(5, (block,)), "room"))
    assert isinstance(rr, RtcpRrPacket)
    assert rr.reports[0].packets_lost == -2
    assert rr.reports[0].fraction_lost == 128
    assert rr.reports[0].highest_sequence == 70_000


def test_we_read_another_implementations_nack() -> None:
    raw = bytes(RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=2, lost=[3, 4, 40, 65_535]))
    assert rtcp.parse(raw) == [Nack(1, 2, (3, 4, 40, 65_535))]


def test_goodbye_and_unknown_kinds() -> None:
    unknown = bytes.fromhex("81d00001 00000001")
    goodbye = bytes.fromhex("81cb0001 00000007")
    assert rtcp.parse(unknown + goodbye) == [Goodbye((7,))]


def test_empty_is_an_error() -> None:
    with pytest.raises(RtcpError):
        rtcp.parse(b"")


def test_ntp_time() -> None:
    assert rtcp.ntp_time(0.5) == (2_208_988_800 << 32) + (1 << 31)
    assert rtcp.middle(0x1234_5678_9ABC_DEF0) == 0x5678_9ABC
