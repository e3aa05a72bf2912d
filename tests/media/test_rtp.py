import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import rtp
from media.rtp import RtpError, RtpPacket, Unwrapper

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=60),
    marker=st.booleans(),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extensions=st.dictionaries(st.integers(1, 255), st.binary(max_size=30), max_size=4),
)


@given(packets)
def test_what_is_built_reads_back(packet: RtpPacket) -> None:
    assert rtp.parse(rtp.build(packet)) == packet


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_an_rtp_error(data: bytes) -> None:
    with contextlib.suppress(RtpError):
        rtp.parse(data)


@given(packets, st.data())
def test_damaged_packets_are_a_packet_or_an_rtp_error(
    packet: RtpPacket, data: st.DataObject
) -> None:
    raw = bytearray(rtp.build(packet))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RtpError):
        rtp.parse(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


def test_audio_packet_is_what_build_makes() -> None:
    fast = rtp.audio_packet(111, True, 0x2_FFFE, 0x1_0000_0003, 7, b"abc")
    assert fast == rtp.build(RtpPacket(111, 0xFFFE, 3, 7, b"abc", marker=True))


def test_chromium_packet_with_one_byte_extensions() -> None:
    # audio level in id 1 (V bit, -30 dBov), padding byte, mid "0" in id 4
    raw = bytes.fromhex("90ef0102 00000304 0000abcd bede 0002 10 9e 00 40 30 000000") + b"opus"
    packet = rtp.parse(raw)
    assert packet.marker
    assert packet.payload_type == 111
    assert packet.extensions == {1: b"\x9e", 4: b"0"}
    assert packet.payload == b"opus"


def test_padding_is_taken_off_and_checked() -> None:
    head = bytes.fromhex("a06f0001 00000000 00000001")
    assert rtp.parse(head + b"xyz\x00\x00\x03").payload == b"xyz"
    with pytest.raises(RtpError, match="padding"):
        rtp.parse(head + b"\x05")
    with pytest.raises(RtpError, match="padding"):
        rtp.parse(head + b"abc\x00")


def test_unknown_extension_profile_is_skipped() -> None:
    raw = bytes.fromhex("906f0001 00000000 00000001 abcd 0001 01020304") + b"x"
    packet = rtp.parse(raw)
    assert packet.extensions == {}
    assert packet.payload == b"x"


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-3000, 3000), max_size=200))
def test_unwrapper_follows_any_walk(start: int, steps: list[int]) -> None:
    unwrapper = Unwrapper(16)
    true = start
    assert unwrapper.unwrap(start) == start
    highest = start
    for step in steps:
        true = highest + step
        assert unwrapper.unwrap(true & 0xFFFF) == true
        highest = max(highest, true)


def test_unwrapper_restarts_ahead_of_everything_before() -> None:
    unwrapper = Unwrapper(16)
    before = unwrapper.unwrap(65_000)
    after = unwrapper.restart(12)
    assert after > before + 0x10000
    assert after & 0xFFFF == 12
    assert unwrapper.unwrap(13) == after + 1
