"""A program is what a listener with so many audio sections hears: that many slots, each with
its own selection, packing for the audience, and individual feeds for the stage."""

from __future__ import annotations

import dataclasses
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from media import opus, rtp
from media.news import Desk
from media.packer import WAIT_S, Packed, Packer
from media.rtcp import SenderReport, ntp_time
from media.slots import Frame, Slot, SpeakerSelector, Tuning
from media.source import Arrival

HISTORY_PACKETS = 64
MAX_RESENDS = 3
PAUSED_S = 0.45
"""A speaker's browser that does not transmit silence sends a packet every 0.4 s all the same."""


class Lane:
    """One slot and its way to the audience."""

    def __init__(self, ssrc: int, packing: int, rng: random.Random) -> None:
        self.slot = Slot(ssrc, rng)
        self.packer = Packer(packing)
        self.packets = 0
        self.octets = 0
        self._reported = 0

    def rtp(self, packed: Packed) -> bytes:
        """The audience's packet; the plane puts each member's payload type in."""
        self.packets += 1
        self.octets += len(packed.payload)
        return self.variant(packed, packed.payload)

    def variant(self, packed: Packed, payload: bytes) -> bytes:
        """The same packet for a part of the audience; counted with the first."""
        return rtp.audio_packet(
            0, packed.marker, packed.index, packed.timestamp, self.slot.ssrc, payload
        )

    def report(self, now: float, unix_s: float) -> SenderReport | None:
        """The sender report for the audience; None where nothing was sent since the last."""
        if self.packets == self._reported:
            return None
        self._reported = self.packets
        return SenderReport(
            self.slot.ssrc,
            ntp_time(unix_s),
            self.slot.timestamp_at(now) & 0xFFFF_FFFF,
            self.packets,
            self.octets,
        )


@dataclass(slots=True)
class _Sent:
    packet: bytes
    resends: int = 0


class Feed:
    """One listener's stream of one slot: the packet indices, whether they come through the
    audience's group (`offset` from the group's) or one by one (on stage)."""

    def __init__(self, ssrc: int, first_index: int) -> None:
        self.ssrc = ssrc
        self.next_index = first_index
        """While on stage: the index after the highest sent."""
        self.offset = 0
        """While in the audience."""
        self.packets = 0
        self.octets = 0
        self._reported = 0
        self._run: int | None = None
        self._shift = 0
        self._floor = 0
        self._end = 0
        self._time_shift = 0
        """Of a run that begins before the last one's sound was over: one from another slot."""
        self._sent: OrderedDict[int, _Sent] = OrderedDict()

    def to_stage(self, group_next_index: int) -> None:
        self.next_index = group_next_index + self.offset
        self._run = None
        self._end = 0
        self._sent.clear()

    def to_audience(self, group_next_index: int) -> None:
        self.offset = self.next_index - group_next_index
        self._run = None
        self._sent.clear()

    def rtp(self, frame: Frame, payload_type: int) -> tuple[bytes, int] | None:
        """Packet and index of one frame on stage; None for one too late to be numbered."""
        if frame.run != self._run:
            if frame.late:
                return None
            self._run = frame.run
            self._shift = self.next_index - frame.number
            self._floor = frame.number
            self._time_shift = max(0, self._end - frame.timestamp)
        elif frame.number < self._floor:
            return None
        index = frame.number + self._shift
        self.next_index = max(self.next_index, index + 1)
        self.packets += 1
        self.octets += len(frame.payload)
        timestamp = frame.timestamp + self._time_shift
        self._end = max(self._end, timestamp + frame.samples)
        packet = rtp.audio_packet(
            payload_type, frame.marker, index, timestamp, self.ssrc, frame.payload
        )
        self._sent[index] = _Sent(packet)
        if len(self._sent) > HISTORY_PACKETS:
            self._sent.popitem(last=False)
        return packet, index

    def again(self, sequence: int) -> tuple[bytes, int] | None:
        """A recent packet on stage, by the 16 bits that a NACK names."""
        index = self.next_index - (self.next_index - sequence & 0xFFFF)
        sent = self._sent.get(index)
        if sent is None or sent.resends >= MAX_RESENDS:
            return None
        sent.resends += 1
        return sent.packet, index

    def report(self, slot: Slot, now: float, unix_s: float) -> SenderReport | None:
        """The sender report on stage; None where nothing was sent since the last."""
        if self.packets == self._reported:
            return None
        self._reported = self.packets
        return SenderReport(
            self.ssrc,
            ntp_time(unix_s),
            slot.timestamp_at(now) & 0xFFFF_FFFF,
            self.packets,
            self.octets,
        )


@dataclass(slots=True)
class Reported:
    """What a listener on stage last said of its reception."""

    fraction_lost: float = 0.0
    packets_lost: int = 0
    jitter_ms: float = 0.0
    rtt_ms: float | None = None


@dataclass(slots=True)
class Listener:
    """One listening session. `feeds` has one per slot of its program."""

    session: str
    participant: str
    payload_type: int
    on_stage: bool
    feeds: list[Feed]
    news: str | None = None
    """The language read in the sound, while in the audience: None for nothing, "" for what was
    said as it was said."""
    reported: dict[int, Reported] = field(default_factory=dict)
    """By SSRC."""


class StandIn:
    """What the one who is heard hears with a single audio section: the loudest of the others,
    in the time of the slot that they hear otherwise."""

    def __init__(self, tuning: Tuning, slot: Slot, rng: random.Random) -> None:
        self.selector = SpeakerSelector(1, tuning)
        self._heard = slot
        self._slot = Slot(slot.ssrc, rng)

    def hear(self, participant: str, arrival: Arrival, loudness: float, now: float) -> Frame | None:
        """A packet of one who is not heard by all; the frame where it is theirs that is heard
        instead."""
        self.selector.hear(participant, loudness, now)
        if self.selector.slot_of(participant) is None:
            return None
        if not self._slot.follows(arrival.epoch):
            self._slot.keep_time_with(self._heard, now)
        return self._own(
            self._slot.place(
                arrival.epoch,
                arrival.sequence,
                arrival.timestamp,
                arrival.samples,
                arrival.marker,
                arrival.payload,
                now,
            )
        )

    def drop(self, participant: str, now: float) -> Frame | None:
        """They are heard by all now, or not at all; the silent frame that ends their part."""
        if self.selector.slot_of(participant) is None:
            return None
        self.selector.drop(participant, now)
        return self._own(self._slot.release(now))

    def tick(self, now: float) -> Frame | None:
        return self._own(self._slot.release(now)) if self.selector.tick(now) else None

    @staticmethod
    def _own(frame: Frame | None) -> Frame | None:
        """Runs are told from those of the other slot by their sign."""
        return frame and dataclasses.replace(frame, run=-frame.run)


class Program:
    """`size` slots and who listens to them."""

    def __init__(
        self,
        size: int,
        tuning: Tuning,
        packing: int,
        new_ssrc: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self.size = size
        self.selector = SpeakerSelector(size, tuning)
        self.lanes = [Lane(new_ssrc(), packing, rng) for _ in range(size)]
        self.stand_in = StandIn(tuning, self.lanes[0].slot, rng) if size == 1 else None
        self.audience: dict[str, Listener] = {}
        self.stage: dict[str, Listener] = {}
        self.desk = Desk(rng)

    @property
    def waits(self) -> float:
        """How long the next packet of those who are heard may take, in seconds; 0 while nobody
        is heard."""
        if all(source is None for source in self.selector.sources):
            return 0.0
        packing_s = max(lane.packer.packing for lane in self.lanes) / opus.SAMPLE_RATE
        return max(packing_s + WAIT_S, PAUSED_S)

    @property
    def ssrcs(self) -> tuple[int, ...]:
        return tuple(lane.slot.ssrc for lane in self.lanes)

    def carrier_lane(self) -> int | None:
        """The free slot in which silence may carry news: the one used last, which is kept from
        pausing anyway; None while all are held."""
        free = [n for n, source in enumerate(self.selector.sources) if source is None]
        return max(free, key=lambda n: self.lanes[n].slot.last_at, default=None)

    def deadline(self) -> float | None:
        """When the selection, a slot, a packer or the news have something to do."""
        times = [self.selector.deadline()]
        if self.carrier_lane() is not None:
            times.append(self.desk.carrier_at(self.waits))
        if self.stand_in is not None:
            times.append(self.stand_in.selector.deadline())
        for lane in self.lanes:
            times += (lane.packer.deadline(), lane.slot.idle_deadline())
        return min((at for at in times if at is not None), default=None)
