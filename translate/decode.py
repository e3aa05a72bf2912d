"""One speaker's Opus packets to 16 kHz mono, with times that stay right.

RTP timestamps say when a packet was spoken; what is missing (lost packets, silence that was not
sent) is filled with sound of the same length, so that position in the sound is position in time.
Pure but for FFmpeg's decoder: packets in, samples out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import av
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""One-dimensional, 16 kHz, -1 to 1."""

RATE = 16_000
OPUS_RATE = 48_000
_STEP = OPUS_RATE // RATE

MAX_FILLED_MS = 2_000
"""A longer hole is the end of a stream and the start of another."""
MAX_PACKET_MS = 120
_FADE_MS = 20

# RFC 6716, table 2: frame length in samples at 48 kHz by configuration number.
_SILK = (480, 960, 1920, 2880)
_HYBRID = (480, 960)
_CELT = (120, 240, 480, 960)


def packet_samples(payload: bytes) -> int:
    """How long an Opus packet is, in samples at 48 kHz (RFC 6716, section 3.1); 0 where that
    cannot be told or is not allowed."""
    if not payload:
        return 0
    config = payload[0] >> 3
    if config < 12:
        frame = _SILK[config % 4]
    elif config < 16:
        frame = _HYBRID[config % 2]
    else:
        frame = _CELT[config % 4]
    code = payload[0] & 3
    if code == 3:
        if len(payload) < 2:
            return 0
        count = payload[1] & 0x3F
    else:
        count = 1 if code == 0 else 2
    total = frame * count
    return total if total <= MAX_PACKET_MS * OPUS_RATE // 1000 else 0


@dataclass(slots=True)
class DecodeStats:
    """Counters since the decoder was made."""

    packets: int = 0
    broken: int = 0
    """Packets that are no Opus, replaced by a fading repetition."""
    late: int = 0
    """Packets whose time had passed, dropped."""
    filled_ms: int = 0
    """Sound made up for holes."""
    streams: int = 0


@dataclass(frozen=True, slots=True)
class Sound:
    """Samples in order. `position` counts the samples of the stream before them, and `fresh` is
    set where a new stream begins, next to nothing that came before."""

    samples: Samples
    position: int
    fresh: bool


@dataclass(slots=True)
class SpeakerDecoder:
    """Feed it packets in the order of their arrival."""

    stats: DecodeStats = field(default_factory=DecodeStats)
    _sequence: int = -1
    _next: int = 0
    """Timestamp that the next packet should have."""
    _position: int = 0
    _opened: bool = False
    _codec: av.AudioCodecContext | None = None
    _resampler: av.AudioResampler | None = None
    _last: Samples = field(default_factory=lambda: np.zeros(0, np.float32))
    """The newest 20 ms at 48 kHz, to fade out over a hole."""

    def push(self, sequence: int, timestamp: int, payload: bytes) -> Sound | None:
        """One packet: its extended sequence number, its extended timestamp (48 kHz) and its
        payload. Returns the sound up to its end, or None where it adds nothing (late, or not
        even its length is known)."""
        self.stats.packets += 1
        ahead = timestamp - self._next
        limit = MAX_FILLED_MS * OPUS_RATE // 1000
        fresh = not self._opened or abs(ahead) > limit
        if not fresh and (sequence <= self._sequence or ahead < 0):
            self.stats.late += 1
            return None
        length = packet_samples(payload)
        if not length:
            self.stats.broken += 1
            return None
        if fresh:
            self._open()
            ahead = 0
        self._sequence = sequence
        self._next = timestamp + length
        hole = self._fill(ahead) if ahead else None
        decoded = self._decode(payload, length)
        pieces = decoded if hole is None else np.concatenate([hole, decoded])
        samples = self._resample(pieces)
        position = self._position
        self._position += len(samples)
        return Sound(samples, position, fresh)

    def _open(self) -> None:
        codec = av.CodecContext.create("opus", "r")
        assert isinstance(codec, av.AudioCodecContext)
        codec.sample_rate = OPUS_RATE
        codec.layout = "mono"
        self._codec = codec
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        self._last = np.zeros(0, np.float32)
        self._position = 0
        self._opened = True
        self.stats.streams += 1

    def _decode(self, payload: bytes, length: int) -> Samples:
        assert self._codec is not None
        try:
            frames = [frame.to_ndarray()[0] for frame in self._codec.decode(av.Packet(payload))]
        except (av.FFmpegError, ValueError):
            frames = []
        if not frames:
            self.stats.broken += 1
            return self._fill(length)
        samples = np.concatenate(frames).astype(np.float32, copy=False)
        if len(samples) != length:  # the packet said another length than the decoder gave
            samples = np.resize(samples, length) if len(samples) > length else _pad(samples, length)
        self._last = samples[-(_FADE_MS * OPUS_RATE // 1000) :]
        return samples

    def _fill(self, length: int) -> Samples:
        """Sound for a hole: the newest 20 ms backwards (no click at the joint), fading out."""
        self.stats.filled_ms += length * 1000 // OPUS_RATE
        filled = np.zeros(length, np.float32)
        fade = self._last[::-1][:length]
        if len(fade):
            filled[: len(fade)] = fade * np.linspace(1, 0, len(fade), dtype=np.float32)
        self._last = np.zeros(0, np.float32)
        return filled

    def _resample(self, samples: Samples) -> Samples:
        assert self._resampler is not None
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
        frame.sample_rate = OPUS_RATE
        made = [out.to_ndarray()[0] for out in self._resampler.resample(frame)]
        return np.concatenate(made) if made else np.zeros(0, np.float32)


def _pad(samples: Samples, length: int) -> Samples:
    return np.pad(samples, (0, length - len(samples)))


class StreamClock:
    """Where in a stream is when on the room's clock.

    Packets come late by a varying time, never early: the least delayed arrival tells best when
    a stream began. Only that of the last seconds counts, so that a clock that drifts, or a
    microphone that stood still for a while, is followed.
    """

    _SPAN_MS = 4_000
    """Of sound; one to two of these are looked back on."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """A new stream begins."""
        self._before = self._least = math.inf
        self._span_at: float | None = None

    def observe(self, position: int, received_ms: float) -> None:
        """The sound before sample `position` was there at `received_ms` of the room's clock."""
        at = position * 1000 / RATE
        if self._span_at is None:
            self._span_at = at
        elif at - self._span_at >= self._SPAN_MS:
            self._before, self._least, self._span_at = self._least, math.inf, at
        self._least = min(self._least, received_ms - at)

    def ms(self, position: int) -> int:
        """Room clock, ms, of sample `position`; 0 before the first `observe`."""
        if self._span_at is None:
            return 0
        return max(0, round(min(self._before, self._least) + position * 1000 / RATE))
