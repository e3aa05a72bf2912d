import itertools

import av
import numpy
import pytest
from aiortc.codecs.opus import OpusEncoder
from hypothesis import given
from hypothesis import strategies as st

from media import opus
from media.opus import OpusError


def encoded(frames: int = 24, dtx_tail: bool = False) -> list[bytes]:
    """Real 20 ms packets: a chord that grows and shrinks, so that sizes differ."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate = 48_000
    encoder.layout = "stereo"
    encoder.format = av.AudioFormat("s16")
    encoder.bit_rate = 48_000
    encoder.open()
    time = numpy.arange(frames * 960) / 48_000
    wave = numpy.sin(time * 2 * numpy.pi * 330) + numpy.sin(time * 2 * numpy.pi * 551 * (1 + time))
    wave *= numpy.abs(numpy.sin(time * 9)) * 9000
    packets = []
    for at in range(0, len(wave), 960):
        samples = numpy.repeat(wave[at : at + 960].astype(numpy.int16), 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate = 48_000
        frame.pts = at
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def decoded(packets: list[bytes]) -> numpy.ndarray:
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate = 48_000
    decoder.layout = "stereo"
    out = []
    for packet in packets:
        out += [frame.to_ndarray() for frame in decoder.decode(av.Packet(packet))]
    return numpy.concatenate(out, axis=1)


@pytest.mark.parametrize("together", [2, 3, 6])
def test_joined_packets_decode_to_the_same_samples(together: int) -> None:
    packets = encoded()
    assert len({len(packet) for packet in packets}) > 3
    joined = []
    for _, run in itertools.groupby(packets, lambda packet: packet[0]):
        alike = list(run)
        joined += [opus.merge(alike[at : at + together]) for at in range(0, len(alike), together)]
    assert any(opus.packet_samples(packet) == together * 960 for packet in joined)
    assert numpy.array_equal(decoded(joined), decoded(packets))


def test_split_undoes_merge() -> None:
    packets = encoded(6)
    alike = [packet for packet in packets if packet[0] == packets[-1][0]]
    assert opus.split(opus.merge(alike)) == alike


def test_the_browser_encoders_packets_are_understood() -> None:
    frame = av.AudioFrame.from_ndarray(
        numpy.zeros((1, 1920), numpy.int16), format="s16", layout="stereo"
    )
    frame.sample_rate = 48_000
    frame.pts = 0
    (payload,), _ = OpusEncoder().encode(frame)
    assert opus.packet_samples(payload) == 960


# RFC 6716, table 2: (config, ms)
TABLE = [
    *((config, ms) for base in (0, 4, 8) for config, ms in enumerate((10, 20, 40, 60), base)),
    *((config, ms) for base in (12, 14) for config, ms in enumerate((10, 20), base)),
    *(
        (config, ms)
        for base in (16, 20, 24, 28)
        for config, ms in enumerate((2.5, 5, 10, 20), base)
    ),
]


@pytest.mark.parametrize(("config", "ms"), TABLE)
def test_frame_lengths(config: int, ms: float) -> None:
    assert opus.frame_samples(config << 3) == ms * 48
    assert opus.packet_samples(bytes((config << 3 | 4, 1))) == ms * 48


CELT_20 = 31 << 3


def test_codes() -> None:
    assert opus.parse(bytes((CELT_20, 1, 2))).frames == (b"\1\2",)
    assert opus.parse(bytes((CELT_20 | 1, 1, 2))).frames == (b"\1", b"\2")
    assert opus.parse(bytes((CELT_20 | 2, 1, 7, 8, 9))).frames == (b"\7", b"\x08\x09")
    assert opus.parse(bytes((CELT_20 | 3, 3, 1, 2, 3))).frames == (b"\1", b"\2", b"\3")
    assert opus.parse(bytes((CELT_20 | 3, 0x82, 1, 7, 8, 9))).frames == (b"\7", b"\x08\x09")


def test_padding_is_skipped() -> None:
    cbr = bytes((CELT_20 | 3, 0x40 | 2, 3, 5, 6, 0, 0, 0))
    assert opus.parse(cbr).frames == (b"\5", b"\6")
    vbr = bytes((CELT_20 | 3, 0xC0 | 2, 255, 1, 1, 5, 6)) + bytes(255)
    assert opus.parse(vbr).frames == (b"\5", b"\6")


def test_large_frames_take_two_size_bytes() -> None:
    big, small = bytes(1275), bytes(300)
    packet = opus.build(CELT_20, [big, small, b""])
    assert opus.parse(packet).frames == (big, small, b"")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        bytes((CELT_20 | 1, 1)),
        bytes((CELT_20 | 2,)),
        bytes((CELT_20 | 2, 252)),
        bytes((CELT_20 | 2, 9, 1)),
        bytes((CELT_20 | 3,)),
        bytes((CELT_20 | 3, 0)),
        bytes((CELT_20 | 3, 7, 1, 2, 3, 4, 5, 6, 7)),
        bytes((CELT_20 | 3, 2, 1, 2, 3)),
        bytes((CELT_20 | 3, 0x82, 9, 1)),
        bytes((CELT_20 | 3, 0x41, 200, 1)),
        bytes((CELT_20 | 3, 0x41, 255)),
        bytes((CELT_20,)) + bytes(1276),
        bytes((3 << 3 | 3, 3, 1, 2, 3)),
    ],
)
def test_malformed(bad: bytes) -> None:
    with pytest.raises(OpusError):
        opus.parse(bad)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_packet_or_an_opus_error(data: bytes) -> None:
    try:
        packet = opus.parse(data)
    except OpusError:
        return
    assert packet.samples == opus.packet_samples(data) <= opus.MAX_PACKET_SAMPLES
    assert opus.parse(opus.build(packet.toc, packet.frames)) == packet


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=6), st.integers(0, 31))
def test_what_is_built_reads_back(frames: list[bytes], config: int) -> None:
    toc = config << 3
    if len(frames) * opus.frame_samples(toc) > opus.MAX_PACKET_SAMPLES:
        with pytest.raises(OpusError):
            opus.build(toc, frames)
        return
    assert opus.parse(opus.build(toc, frames)).frames == tuple(frames)


def test_what_cannot_be_joined() -> None:
    with pytest.raises(OpusError):
        opus.merge([])
    with pytest.raises(OpusError):
        opus.merge([bytes((CELT_20, 1)), bytes((CELT_20 | 4, 1))])
    with pytest.raises(OpusError):
        opus.merge([bytes((CELT_20, 1))] * 7)


def test_silence_ends_a_run_without_a_frame() -> None:
    end = opus.silence_after(encoded(1)[0])
    assert len(end) <= opus.DTX_BYTES
    assert opus.packet_samples(end) == 960
    assert decoded([*encoded(3), end]).size
