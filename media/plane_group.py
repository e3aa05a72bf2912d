"""What a group of listeners needs beside sending: recent packets to send again, and what its
members report. Pure: the clock is an argument.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from media import rtcp
from media.plane import Reception

HISTORY_S = 1.0
"""How long a packet can be asked for again."""
MAX_HISTORY = 512
"""Packets kept per SSRC, whatever their age."""
NACKS_PER_S = 50
"""Retransmissions a member may ask for, sustained; and at once."""

_SENDER_REPORTS_KEPT = 64
_SAMPLES_KEPT = 4096
_RTP_CLOCK_KHZ = 48.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sent:
    """One packet of a group's past."""

    index: int
    order: int
    """Position in the group's whole sequence of sends, from 1: who joined later never got it."""
    at: float
    packet: bytes


class History:
    """The packets that a group sent in the last second, by SSRC and sequence number."""

    def __init__(self) -> None:
        self._by_ssrc: dict[int, OrderedDict[int, Sent]] = {}
        self.order = 0

    def keep(self, packet: bytes, index: int, now: float) -> None:
        """Remember one packet, and forget what is older than a second."""
        self.order += 1
        kept = self._by_ssrc.setdefault(int.from_bytes(packet[8:12], "big"), OrderedDict())
        kept.pop(index & 0xFFFF, None)
        kept[index & 0xFFFF] = Sent(index, self.order, now, packet)
        while kept:
            oldest = next(iter(kept.values()))
            if len(kept) <= MAX_HISTORY and now - oldest.at <= HISTORY_S:
                break
            kept.popitem(last=False)

    def find(self, ssrc: int, sequence: int, since: int, now: float) -> Sent | None:
        """The packet with the group's own `sequence`, where it was sent after the `since`-th
        send and in the last second."""
        sent = self._by_ssrc.get(ssrc, OrderedDict()).get(sequence & 0xFFFF)
        if sent is None or sent.order <= since or now - sent.at > HISTORY_S:
            return None
        return sent


class NackAllowance:
    """A token bucket: `NACKS_PER_S` a second, and as many at once."""

    __slots__ = ("_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = float(NACKS_PER_S)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more may be answered now."""
        self._tokens = min(NACKS_PER_S, self._tokens + (now - self._at) * NACKS_PER_S)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Receptions:
    """Collects members' reports until somebody asks. Keeps a uniform sample where there are
    more than a few thousand."""

    def __init__(self) -> None:
        self._sender_reports: OrderedDict[int, float] = OrderedDict()
        self._random = random.Random(0)
        self._clear()

    def _clear(self) -> None:
        self._reports = 0
        self._loss_sum = 0.0
        self._samples: list[tuple[float, float]] = []
        self._round_trips: list[float] = []
        self._round_trips_seen = 0

    def sender_report(self, compound: bytes, now: float) -> None:
        """Note when a sender report went out, so that round trips can be told from answers."""
        for message in rtcp.parse(compound):
            if isinstance(message, rtcp.SenderReport):
                self._sender_reports[rtcp.middle(message.ntp)] = now
        while len(self._sender_reports) > _SENDER_REPORTS_KEPT:
            self._sender_reports.popitem(last=False)

    def add(self, block: rtcp.ReportBlock, now: float) -> None:
        """Take one member's report of one SSRC."""
        self._reports += 1
        loss = block.fraction_lost / 256
        self._loss_sum += loss
        sample = (loss, block.jitter / _RTP_CLOCK_KHZ)
        self._sample(self._samples, sample, self._reports)
        sent = self._sender_reports.get(block.last_report) if block.last_report else None
        if sent is not None:
            self._round_trips_seen += 1
            round_trip = max(0.0, now - sent - block.delay / 65536) * 1000
            self._sample(self._round_trips, round_trip, self._round_trips_seen)

    def _sample(self, samples: list[_T], value: _T, seen: int) -> None:
        if len(samples) < _SAMPLES_KEPT:
            samples.append(value)
        elif (place := self._random.randrange(seen)) < _SAMPLES_KEPT:
            samples[place] = value

    def take(self) -> Reception:
        """The summary since the last call."""
        losses = sorted(loss for loss, _ in self._samples)
        jitters = sorted(jitter for _, jitter in self._samples)
        round_trips = sorted(self._round_trips)
        reception = Reception(
            reports=self._reports,
            loss_mean=self._loss_sum / self._reports if self._reports else 0.0,
            loss_p95=_percentile(losses, 0.95),
            jitter_ms_p50=_percentile(jitters, 0.50),
            jitter_ms_p95=_percentile(jitters, 0.95),
            rtt_ms_p50=_percentile(round_trips, 0.50),
            rtt_ms_p95=_percentile(round_trips, 0.95),
        )
        self._clear()
        return reception


def _percentile(ascending: list[float], share: float) -> float:
    if not ascending:
        return 0.0
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]
