"""One publisher's stream as it is received: counted, measured, made into frames.

Sequence numbers are checked as in RFC 3550 appendix A.1, loss counted as in A.3, jitter
estimated as in A.8.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from media import levels, opus, rtcp, rtp
from media.levels import AudioLevel, LevelError, Loudness
from media.opus import SAMPLE_RATE, OpusError
from media.rtcp import ReportBlock, SenderReport
from media.rtp import RtpError, Unwrapper

MAX_DROPOUT = 3000
MAX_MISORDER = 100
MAX_PAYLOAD_BYTES = 1200
"""Longer ones would not fit into a datagram to every listener."""
SAMPLES_PER_S = 1.25 * SAMPLE_RATE
BYTES_PER_S = 64_000
"""What a publisher may send in the long run: sound somewhat faster than it passes, and Opus's
highest bit rate. Everything a publisher sends is multiplied by the audience."""
BURST_S = 2.0
SSRC_SWITCH_S = 0.2
"""Another SSRC is taken up once the one before has been silent for this long."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet. `epoch` names an unbroken run of the publisher's stream, `sequence` and
    `timestamp` (48 kHz) are extended and grow from one epoch to the next."""

    epoch: int
    sequence: int
    timestamp: int
    samples: int
    marker: bool
    level: AudioLevel
    payload: bytes


@dataclass(frozen=True, slots=True)
class SourceStats:
    """How a publisher is received."""

    packets: int
    lost: int
    """May be negative where packets came twice before decryption was set up."""
    fraction_lost: float
    """In the last report interval, 0 to 1."""
    jitter_ms: float
    dropped: dict[str, int]
    """Packets thrown away, by cause: `rtp_malformed`, `payload_type`, `empty`, `too_large`,
    `opus_malformed`, `flood`, `ssrc`, `sequence`; and `level_malformed`, which are kept."""


class Allowance:
    """A bucket that fills at `rate` a second and holds `BURST_S` seconds of it."""

    __slots__ = ("_at", "_left", "_rate")

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._left = rate * BURST_S
        self._at = float("-inf")

    def take(self, amount: float, now: float) -> bool:
        """Whether `amount` is to be had now."""
        filled = self._left + (now - self._at) * self._rate
        self._left = min(self._rate * BURST_S, filled)
        self._at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True


class Source:
    """`epochs` gives numbers that no other source of the room gets."""

    def __init__(
        self,
        participant: str,
        payload_type: int,
        level_id: int | None,
        epochs: Iterator[int],
    ) -> None:
        self.participant = participant
        self.loudness = Loudness()
        self.ssrc: int | None = None
        self._payload_type = payload_type
        self._level_id = level_id
        self._epochs = epochs
        self._epoch = 0
        self._sequence = Unwrapper(16)
        self._timestamp = Unwrapper(32)
        self._bad_sequence: int | None = None
        self._heard_at = float("-inf")
        self._base = 0
        self._received = 0
        self._expected_before = 0
        self._received_before = 0
        self._fraction = 0
        self._lost_in_past_epochs = 0
        self._packets = 0
        self._packets_reported = 0
        self._transit: float | None = None
        self._jitter = 0.0
        self._last_report: tuple[int, float] | None = None
        self._dropped: Counter[str] = Counter()
        self._time_allowed = Allowance(SAMPLES_PER_S)
        self._bytes_allowed = Allowance(BYTES_PER_S)

    def receive(self, data: bytes, now: float) -> Arrival | None:
        """Take one RTP packet; None where it is of no use, which is counted."""
        try:
            packet = rtp.parse(data)
        except RtpError:
            self._dropped["rtp_malformed"] += 1
            return None
        if packet.payload_type != self._payload_type:
            self._dropped["payload_type"] += 1
            return None
        if not packet.payload:
            # Padding alone, which some senders use to probe bandwidth.
            self._dropped["empty"] += 1
            return None
        if len(packet.payload) > MAX_PAYLOAD_BYTES:
            self._dropped["too_large"] += 1
            return None
        try:
            samples = opus.parse(packet.payload).samples
        except OpusError:
            self._dropped["opus_malformed"] += 1
            return None
        allowed = self._time_allowed.take(samples, now)
        if not (self._bytes_allowed.take(len(packet.payload), now) and allowed):
            self._dropped["flood"] += 1
            return None
        if packet.ssrc != self.ssrc:
            if now - self._heard_at < SSRC_SWITCH_S:
                self._dropped["ssrc"] += 1
                return None
            self.ssrc = packet.ssrc
            self._restart(packet.sequence, packet.timestamp)
        else:
            ahead = self._sequence.peek(packet.sequence) - (self._sequence.highest or 0)
            if -MAX_MISORDER < ahead < MAX_DROPOUT:
                self._bad_sequence = None
            elif packet.sequence == self._bad_sequence:
                self._restart(packet.sequence, packet.timestamp)
            else:
                self._bad_sequence = (packet.sequence + 1) & 0xFFFF
                self._dropped["sequence"] += 1
                return None
        self._heard_at = now
        self._received += 1
        self._packets += 1
        sequence = self._sequence.unwrap(packet.sequence)
        timestamp = self._timestamp.unwrap(packet.timestamp)
        self._measure(timestamp, now)
        return Arrival(
            epoch=self._epoch,
            sequence=sequence,
            timestamp=timestamp,
            samples=samples,
            marker=packet.marker,
            level=self._level(packet),
            payload=packet.payload,
        )

    def _restart(self, sequence: int, timestamp: int) -> None:
        self._lost_in_past_epochs += self._expected() - self._received
        self._epoch = next(self._epochs)
        self._base = self._sequence.restart(sequence)
        self._timestamp.restart(timestamp)
        self._bad_sequence = None
        self._received = self._expected_before = self._received_before = 0
        self._transit = None

    def _level(self, packet: rtp.RtpPacket) -> AudioLevel:
        data = packet.extensions.get(self._level_id) if self._level_id is not None else None
        if data is not None:
            try:
                return levels.parse(data)
            except LevelError:
                self._dropped["level_malformed"] += 1
        return levels.assumed(packet.payload)

    def _measure(self, timestamp: int, now: float) -> None:
        transit = now * SAMPLE_RATE - timestamp
        if self._transit is not None:
            self._jitter += (abs(transit - self._transit) - self._jitter) / 16
        self._transit = transit

    def _expected(self) -> int:
        if self._sequence.highest is None or not self._received:
            return 0
        return self._sequence.highest - self._base + 1

    def sender_report(self, report: SenderReport, now: float) -> None:
        """Remember the publisher's report, which the next report block answers."""
        if report.ssrc == self.ssrc:
            self._last_report = (rtcp.middle(report.ntp), now)

    def report(self, now: float) -> ReportBlock | None:
        """What to tell the publisher of its reception since the last call; None where nothing
        came."""
        if self.ssrc is None or self._packets == self._packets_reported:
            return None
        self._packets_reported = self._packets
        expected = self._expected()
        expected_interval = expected - self._expected_before
        lost_interval = expected_interval - (self._received - self._received_before)
        self._expected_before, self._received_before = expected, self._received
        self._fraction = 0
        if expected_interval > 0 and lost_interval > 0:
            self._fraction = min(255, (lost_interval << 8) // expected_interval)
        last, delay = 0, 0
        if self._last_report is not None:
            last = self._last_report[0]
            delay = round((now - self._last_report[1]) * 65_536)
        return ReportBlock(
            ssrc=self.ssrc,
            fraction_lost=self._fraction,
            packets_lost=self._lost(),
            highest_sequence=(self._sequence.highest or 0) & 0xFFFF_FFFF,
            jitter=int(self._jitter),
            last_report=last,
            delay=delay,
        )

    def _lost(self) -> int:
        return self._lost_in_past_epochs + self._expected() - self._received

    def stats(self) -> SourceStats:
        return SourceStats(
            packets=self._packets,
            lost=self._lost(),
            fraction_lost=self._fraction / 256,
            jitter_ms=self._jitter * 1000 / SAMPLE_RATE,
            dropped=dict(self._dropped),
        )
