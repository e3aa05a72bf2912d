"""Decoding: real Opus packets, lost, late and broken ones; times stay right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translate.decode import MAX_FILLED_MS, RATE, SpeakerDecoder, StreamClock, packet_samples

Encode = Callable[..., list[bytes]]


def tone(seconds: float, hertz: float = 440, rate: int = 48_000) -> Any:
    t = np.arange(int(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def pitch(samples: Any) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.argmax(spectrum) * RATE / len(samples))


@pytest.mark.parametrize("frame_ms", [20, 60])
def test_sound_comes_out_as_it_went_in(opus: Encode, frame_ms: int) -> None:
    decoder = SpeakerDecoder()
    pieces = []
    for index, packet in enumerate(opus(tone(1.2), frame_ms)):
        sound = decoder.push(1000 + index, 7_000_000 + index * 48 * frame_ms, packet)
        assert sound is not None
        assert sound.fresh == (index == 0)
        assert sound.position == sum(map(len, pieces))
        assert sound.samples.dtype == np.float32
        pieces.append(sound.samples)
    samples = np.concatenate(pieces)
    assert len(samples) == pytest.approx(1.2 * RATE, abs=32)  # the resampler holds back 1 ms
    assert pitch(samples[RATE // 5 : RATE]) == pytest.approx(440, abs=5)
    assert np.abs(samples[RATE // 5 :]).max() == pytest.approx(0.4, abs=0.1)


def test_a_lost_packet_leaves_a_hole_of_its_length(opus: Encode) -> None:
    packets = opus(tone(1.0))
    decoder = SpeakerDecoder()
    made = [
        decoder.push(index, index * 960, packet)
        for index, packet in enumerate(packets)
        if index not in (20, 21, 22)
    ]
    total = sum(len(sound.samples) for sound in made if sound is not None)
    assert total == pytest.approx(RATE, abs=32)
    assert decoder.stats.filled_ms == 60
    assert decoder.stats.streams == 1


def test_silence_that_was_not_sent_is_filled(opus: Encode) -> None:
    packets = opus(tone(0.2))
    decoder = SpeakerDecoder()
    for index, packet in enumerate(packets):
        decoder.push(index, index * 960, packet)
    sound = decoder.push(len(packets), len(packets) * 960 + 19_200, packets[0])
    assert sound is not None
    assert not sound.fresh
    assert len(sound.samples) == pytest.approx(RATE * 0.42, abs=2)
    middle = sound.samples[RATE // 10 : RATE * 3 // 10]
    assert np.abs(middle).max() < 0.001


@pytest.mark.parametrize("jump", [(MAX_FILLED_MS + 20) * 48, -(MAX_FILLED_MS + 20) * 48])
def test_a_long_hole_or_a_new_session_begins_a_stream(opus: Encode, jump: int) -> None:
    packets = opus(tone(0.1))
    decoder = SpeakerDecoder()
    for index, packet in enumerate(packets):
        decoder.push(5000 + index, 10_000_000 + index * 960, packet)
    sound = decoder.push(3, 10_000_000 + len(packets) * 960 + jump, packets[0])
    assert sound is not None
    assert sound.fresh
    assert sound.position == 0
    assert len(sound.samples) <= RATE // 50
    assert decoder.stats.streams == 2


def test_late_and_doubled_packets_are_dropped(opus: Encode) -> None:
    packets = opus(tone(0.2))
    decoder = SpeakerDecoder()
    assert decoder.push(10, 9600, packets[0]) is not None
    assert decoder.push(12, 11_520, packets[2]) is not None
    assert decoder.push(11, 10_560, packets[1]) is None
    assert decoder.push(12, 11_520, packets[2]) is None
    assert decoder.stats.late == 2


def test_broken_packets_are_counted_and_concealed(opus: Encode) -> None:
    packets = opus(tone(0.4))
    decoder = SpeakerDecoder()
    for index in range(10):
        decoder.push(index, index * 960, packets[index])
    # Code 3, no padding, two frames of 20 ms said to be there, lengths that do not fit.
    sound = decoder.push(10, 9600, bytes([packets[0][0] | 3, 0x82, 0xFF, 0xFF, 1]))
    assert decoder.stats.broken == 1
    assert sound is not None
    assert len(sound.samples) == pytest.approx(RATE * 0.04, abs=2)
    assert decoder.push(11, 11_520, b"") is None
    assert decoder.stats.broken == 2
    sound = decoder.push(12, 11_520, packets[12])
    assert sound is not None
    assert decoder.stats.streams == 1
    assert np.abs(sound.samples).max() > 0.05


@given(
    st.lists(
        st.tuples(st.integers(0, 2**34), st.integers(0, 2**40), st.binary(max_size=60)),
        max_size=12,
    )
)
def test_nothing_that_comes_breaks_it_or_makes_much_of_little(
    packets: list[tuple[int, int, bytes]],
) -> None:
    decoder = SpeakerDecoder()
    for packet in packets:
        sound = decoder.push(*packet)
        if sound is not None:
            assert len(sound.samples) <= RATE * (MAX_FILLED_MS + 120) // 1000 + 32
            assert np.isfinite(sound.samples).all()


def test_packet_lengths_follow_rfc_6716(opus: Encode) -> None:
    assert {packet_samples(p) for p in opus(tone(0.3), 60)} == {2880}
    assert {packet_samples(p) for p in opus(tone(0.3), 20)} == {960}
    assert packet_samples(bytes([31 << 3])) == 960  # CELT, 20 ms
    assert packet_samples(bytes([16 << 3 | 1])) == 240  # two of 2.5 ms
    assert packet_samples(bytes([3 << 3 | 3, 2])) == 5760  # two of 60 ms
    assert packet_samples(bytes([3 << 3 | 3, 3])) == 0  # three: over 120 ms
    assert packet_samples(bytes([3 << 3 | 3])) == 0
    assert packet_samples(b"") == 0


def test_the_clock_follows_the_least_delayed_packet() -> None:
    clock = StreamClock()
    assert clock.ms(0) == 0
    for index, late in enumerate([90, 40, 160, 20, 300, 75]):
        clock.observe((index + 1) * 320, 5_000 + (index + 1) * 20 + late)
    assert clock.ms(0) == pytest.approx(5_020, abs=1)
    assert clock.ms(RATE) == pytest.approx(6_020, abs=1)
    clock.reset()
    clock.observe(320, 9_020)
    assert clock.ms(0) == 9_000


def test_the_clock_follows_a_microphone_that_stood_still() -> None:
    clock = StreamClock()
    for tenth in range(1, 101):
        clock.observe(tenth * RATE // 10, 1_000 + tenth * 100 + 30)
    assert clock.ms(10 * RATE) == 11_030
    for tenth in range(101, 201):  # three seconds that the timestamps do not know of
        clock.observe(tenth * RATE // 10, 4_000 + tenth * 100 + 30)
    assert clock.ms(20 * RATE) == 24_030


def test_the_clock_follows_a_drifting_sender() -> None:
    clock = StreamClock()
    for second in range(1, 601):  # the sender's clock is slow by 300 ppm
        clock.observe(second * RATE, 1_000 + second * 1_000.3)
    assert clock.ms(600 * RATE) == pytest.approx(1_000 + 600 * 1_000.3, abs=5)
