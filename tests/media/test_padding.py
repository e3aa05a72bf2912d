"""Extensions in Opus padding: vectors, fuzz, and what a decoder hears."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import opus, padding
from media.padding import Extension, PaddingError

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "in_band.json").read_text())


def extensions() -> st.SearchStrategy[Extension]:
    short = st.builds(Extension, st.integers(3, 31), st.binary(max_size=1))
    long = st.builds(Extension, st.integers(32, 127), st.binary(max_size=600))
    return short | long


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    toc = draw(st.sampled_from([0x78, 0xF8, 0xFC, 0x98]))
    frames = draw(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=3))
    return opus.build(toc, frames)


@pytest.mark.parametrize("vector", VECTORS["padding"], ids=lambda vector: vector["name"])
def test_padding_is_read_as_the_vectors_say(vector: dict[str, object]) -> None:
    data, frames = bytes.fromhex(str(vector["padding"])), int(str(vector["frames"]))
    if vector["extensions"] is None:
        with pytest.raises(PaddingError):
            padding.parse(data, frames)
        return
    found = [[one.id, one.frame, one.data.hex()] for one in padding.parse(data, frames)]
    assert found == vector["extensions"]


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda vector: vector["name"])
def test_packets_are_extended_as_the_vectors_say(vector: dict[str, str]) -> None:
    packet, data = bytes.fromhex(vector["packet"]), bytes.fromhex(vector["data"])
    extended = padding.attach(packet, [Extension(122, data)])
    assert extended.hex() == vector["extended"]


@given(packets(), st.lists(extensions(), min_size=1, max_size=4))
def test_what_is_attached_is_found_and_the_frames_stay(
    packet: bytes, wanted: list[Extension]
) -> None:
    extended = padding.attach(packet, wanted)
    assert padding.extensions_of(extended) == wanted
    assert opus.parse(extended) == opus.parse(packet)
    assert opus.parse(padding.strip(extended)) == opus.parse(packet)


@given(packets(), extensions(), st.integers(60, 1200), st.booleans())
def test_a_packet_stays_within_its_limit(
    packet: bytes, theirs: Extension, limit: int, padded: bool
) -> None:
    if padded:
        packet = padding.attach(packet, [theirs])
    room = padding.room_in(packet, limit)
    if room:
        assert len(padding.attach(packet, [Extension(122, bytes(room))])) <= limit
    assert padding.room_in(b"\xff", 1200) == 0


@given(packets(), st.lists(extensions(), min_size=1, max_size=3), extensions())
def test_what_a_packet_has_already_stays(
    packet: bytes, theirs: list[Extension], ours: Extension
) -> None:
    first = padding.attach(packet, theirs)
    assert padding.extensions_of(padding.attach(first, [ours])) == [ours, *theirs]


def test_repeated_extensions_are_not_mixed_with_ours() -> None:
    # Two frames; short 3 with a byte, repeated for the second frame with another byte.
    theirs = bytes((3 << 1 | 1, 7, 2 << 1 | 1, 8))
    packet = bytes((0xFB, 0x40 | 2, len(theirs))) + b"abcd" + theirs
    before = padding.extensions_of(packet)
    assert before == [Extension(3, b"\x07"), Extension(3, b"\x08", 1)]
    ours = Extension(122, b"news")
    assert padding.extensions_of(padding.attach(packet, [ours])) == [ours, *before]


def test_padding_of_zeros_and_of_another_kind_stays_byte_for_byte() -> None:
    for kept in (bytes(9), bytes((0x41, 200, 1))):
        packet = bytes((0xFB, 0x41, len(kept))) + b"abcd" + kept
        extended = padding.attach(packet, [Extension(122, b"news")])
        assert padding.padding_of(extended).endswith(kept)


@given(st.binary(max_size=80), st.integers(1, 6))
def test_any_bytes_are_read_or_refused(data: bytes, frames: int) -> None:
    try:
        found = padding.parse(data, frames)
    except PaddingError:
        return
    assert all(3 <= one.id <= 127 and 0 <= one.frame < frames for one in found)


@given(st.binary(max_size=80))
def test_any_packet_is_read_or_refused(packet: bytes) -> None:
    try:
        padding.attach(packet, [Extension(122, b"x")])
        padding.extensions_of(packet)
    except (opus.OpusError, PaddingError):
        return


def test_what_is_no_extension_is_refused() -> None:
    for bad in (Extension(2, b""), Extension(128, b""), Extension(5, b"ab")):
        with pytest.raises(ValueError, match="no extension"):
            padding.attach(b"\xf8abc", [bad])


def encoded(channels: str, seconds: float = 1.0) -> list[bytes]:
    """A chirp as Opus packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.format, encoder.layout = 48_000, av.AudioFormat("s16"), channels
    out: list[bytes] = []
    width = 2 if channels == "stereo" else 1
    for number in range(int(seconds * 50)):
        t = np.arange(number * 960, (number + 1) * 960) / 48_000
        wave = (8000 * np.sin(2 * np.pi * (200 + 300 * t) * t)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(
            np.repeat(wave, width).reshape(1, -1), format="s16", layout=channels
        )
        frame.sample_rate, frame.pts = 48_000, number * 960
        out += [bytes(packet) for packet in encoder.encode(frame)]
    return out


def decoded(packets: list[bytes]) -> np.ndarray:
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate = 48_000
    sound = [frame.to_ndarray() for one in packets for frame in decoder.decode(av.Packet(one))]
    return np.concatenate(sound, axis=1)


@pytest.mark.parametrize("channels", ["mono", "stereo"])
@pytest.mark.parametrize("pack", [1, 3])
def test_libopus_decodes_extended_packets_to_the_same_samples(channels: str, pack: int) -> None:
    short = encoded(channels)
    plain = [opus.merge(short[n : n + pack]) for n in range(0, len(short) - pack + 1, pack)]
    # With a pause as the server fills it.
    plain += [opus.silence_after(plain[-1])] * 2
    news = [Extension(122, bytes(n * 37 % 256 for n in range(40 * k % 900))) for k in range(64)]
    extended = [padding.attach(one, [news[n % 64]]) for n, one in enumerate(plain)]
    assert max(map(len, extended)) > max(map(len, plain))
    assert np.array_equal(decoded(plain), decoded(extended))
