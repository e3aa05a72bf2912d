"""Who is heard: speakers compete for a few slots, and each slot is one endless RTP stream.

`SpeakerSelector` gives slots to sources by loudness; `Slot` renumbers its holder's packets so
that the stream's sequence and timestamps go on through every change of speaker.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from media import opus
from media.opus import SAMPLE_RATE

MAX_LATE = 100
"""Packets (frames) that a packet may come late and still get its own number."""
MAX_GAP = 50
"""Longest hole in the numbers that loss before us may leave: one second."""
MAX_DRIFT_SAMPLES = 2 * SAMPLE_RATE
"""A source whose timestamps leave the wall clock by more than this is mapped anew."""
IDLE_EVERY_S = 0.8
"""A free slot sends a silent frame this often: libwebrtc takes a pause for loss a second after
the last one (it counts concealed samples, inaudible ones)..."""
IDLE_FOR_S = 30.0
"""...and for this long, because every packet is multiplied by the audience."""
CLOSE_S = 0.2
"""Up to here a silent frame follows right on what was sent, later it keeps to the clock."""
NEVER_SPOKEN = b"\x78"
"""Silence of a slot that nobody had yet: one frame of 20 ms, mono, as browsers send speech."""
STALE_S = 0.3
"""A holder not heard from for this long counts as silent against a challenger."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Loudness is 127 minus the level in dBov below full scale."""

    speech: float = 67.0
    """Loudness from which sound counts as speech."""
    hold_s: float = 1.0
    """A silent holder keeps the slot for this long."""
    margin_db: float = 6.0
    """How much louder than the quietest holder a challenger must be..."""
    challenge_s: float = 0.3
    """...and for how long without a break."""


@dataclass(slots=True)
class _Holder:
    source: str
    loudness: float
    active_at: float
    """When it last spoke."""
    heard_at: float

    def strength(self, now: float) -> float:
        return 0.0 if now - self.heard_at > STALE_S else self.loudness


class SpeakerSelector:
    """Gives `slots` slots to the sources that speak. A holder keeps the same slot for as long
    as it is among them. Pure: every method takes the time, and says whether the slots changed."""

    def __init__(self, slots: int, tuning: Tuning | None = None) -> None:
        self._tuning = tuning or Tuning()
        self._holders: list[_Holder | None] = [None] * slots
        self._freed_at = [float("-inf")] * slots
        self._last: list[str | None] = [None] * slots
        self._challenges: dict[str, float] = {}

    @property
    def sources(self) -> tuple[str | None, ...]:
        """Who holds each slot."""
        return tuple(holder.source if holder else None for holder in self._holders)

    def slot_of(self, source: str) -> int | None:
        for number, holder in enumerate(self._holders):
            if holder is not None and holder.source == source:
                return number
        return None

    def hear(self, source: str, loudness: float, now: float) -> bool:
        """Take one packet's (smoothed) loudness into account."""
        speaks = loudness >= self._tuning.speech
        number = self.slot_of(source)
        if number is not None:
            holder = self._holders[number]
            assert holder is not None
            holder.loudness = loudness
            holder.heard_at = now
            if speaks:
                holder.active_at = now
                return False
            return self.tick(now)
        if not speaks:
            self._challenges.pop(source, None)
            return False
        free = self._free_slot(source)
        if free is None:
            free = self._contested_slot(source, loudness, now)
            if free is None:
                return False
        self._holders[free] = _Holder(source, loudness, now, now)
        self._last[free] = source
        self._challenges.clear()
        return True

    def _free_slot(self, source: str) -> int | None:
        """The slot that the source had before, else the one free for longest."""
        free = [number for number, holder in enumerate(self._holders) if holder is None]
        if not free:
            return None
        return min(free, key=lambda number: (self._last[number] != source, self._freed_at[number]))

    def _contested_slot(self, source: str, loudness: float, now: float) -> int | None:
        weakest = min(
            range(len(self._holders)),
            key=lambda number: holder.strength(now) if (holder := self._holders[number]) else 0.0,
        )
        holder = self._holders[weakest]
        assert holder is not None
        if loudness < holder.strength(now) + self._tuning.margin_db:
            self._challenges.pop(source, None)
            return None
        since = self._challenges.setdefault(source, now)
        return weakest if now - since >= self._tuning.challenge_s else None

    def drop(self, source: str, now: float) -> bool:
        """The source is gone, or muted."""
        self._challenges.pop(source, None)
        number = self.slot_of(source)
        if number is None:
            return False
        self._free(number, now)
        return True

    def tick(self, now: float) -> bool:
        """Free the slots whose holders have been silent for the hold time."""
        changed = False
        for number, holder in enumerate(self._holders):
            if holder is not None and now - holder.active_at >= self._tuning.hold_s:
                self._free(number, now)
                changed = True
        return changed

    def deadline(self) -> float | None:
        """When `tick` may have something to do."""
        return min(
            (holder.active_at + self._tuning.hold_s for holder in self._holders if holder),
            default=None,
        )

    def _free(self, number: int, now: float) -> None:
        self._holders[number] = None
        self._freed_at[number] = now


@dataclass(frozen=True, slots=True)
class Frame:
    """A holder's packet in its slot's terms. `number` counts packets of the slot (48-bit, no
    wrap); a hole is a packet lost before us. `timestamp` is extended, at 48 kHz."""

    number: int
    timestamp: int
    samples: int
    marker: bool
    payload: bytes
    run: int
    """Changes at every takeover: frames of one run are of one source without a break."""
    late: bool = False
    """A higher number was there before."""


class Slot:
    """One endless stream: stable SSRC, numbers and timestamps that go on."""

    def __init__(self, ssrc: int, rng: random.Random | None = None) -> None:
        self.ssrc = ssrc
        self.next_number = 0
        self.run = 0
        self._epoch: int | None = None
        self._number_shift = 0
        self._time_shift = 0
        self._floor = 0
        self._end = (rng or random.Random()).randrange(1 << 31)
        self._last_timestamp = self._end
        self._last_at: float | None = None
        self._last_payload = b""
        self._idle_until: float | None = None

    def place(
        self,
        epoch: int,
        sequence: int,
        timestamp: int,
        samples: int,
        marker: bool,
        payload: bytes,
        now: float,
    ) -> Frame | None:
        """Renumber one packet. `epoch` names a source's unbroken stream: a new one is a
        takeover. `sequence` and `timestamp` are extended. None for a packet too late to place.
        """
        number = sequence + self._number_shift
        if epoch != self._epoch or number - self.next_number > MAX_GAP:
            self._anchor(epoch, sequence, timestamp, now)
            number = self.next_number
            marker = True
        elif number < self.next_number:
            if number < self._floor or self.next_number - number > MAX_LATE:
                return None
            shifted = timestamp + self._time_shift
            return Frame(number, shifted, samples, False, payload, self.run, late=True)
        elif abs(timestamp + self._time_shift - self.timestamp_at(now)) > MAX_DRIFT_SAMPLES:
            self._anchor(epoch, sequence, timestamp, now)
            number = self.next_number
            marker = True
        self._last_timestamp = timestamp + self._time_shift
        self._last_at = now
        self._last_payload = payload
        self._end = self._last_timestamp + samples
        self.next_number = number + 1
        return Frame(number, self._last_timestamp, samples, marker, payload, self.run)

    def _anchor(self, epoch: int, sequence: int, timestamp: int, now: float) -> None:
        self._epoch = epoch
        self._idle_until = None
        self.run += 1
        self._floor = self.next_number
        self._number_shift = self.next_number - sequence
        self._time_shift = max(self._end, self.timestamp_at(now)) - timestamp

    def follows(self, epoch: int) -> bool:
        """Whether this stream is the one whose packets came last, so that one more of it is no
        takeover."""
        return epoch == self._epoch

    def keep_time_with(self, other: Slot, now: float) -> None:
        """Before a takeover: go on from where another slot's time is now."""
        self._end = self._last_timestamp = other.timestamp_at(now)
        self._last_at = now

    def timestamp_at(self, now: float) -> int:
        """The stream's time at a moment, by the wall clock since its last packet."""
        if self._last_at is None:
            return self._last_timestamp
        return self._last_timestamp + round((now - self._last_at) * SAMPLE_RATE)

    def release(self, now: float) -> Frame | None:
        """The holder is gone. Returns a silent frame that ends its run, or None where nothing
        was sent or the last packet was silent already. Others follow, see `idle`."""
        if self._epoch is None:
            return None
        self._epoch = None
        self._idle_until = now + IDLE_FOR_S
        self._floor = self.next_number
        return self._silent(now) if len(self._last_payload) > opus.DTX_BYTES else None

    def idle_deadline(self) -> float | None:
        """When `idle` has something to do."""
        if self._idle_until is None or self._last_at is None:
            return None
        return self._last_at + IDLE_EVERY_S

    def idle(self, now: float) -> Frame | None:
        """The next silent frame of a free slot, when it is time."""
        due = self.idle_deadline()
        if due is None or now < due or self._idle_until is None:
            return None
        if now > self._idle_until:
            self._idle_until = None
            return None
        return self._silent(now)

    def carrier(self, now: float) -> Frame | None:
        """A silent frame of a free slot, to carry something; None while somebody holds it."""
        return None if self._epoch is not None else self._silent(now, close_s=0.0)

    @property
    def last_at(self) -> float:
        """When the last packet was placed."""
        return self._last_at if self._last_at is not None else float("-inf")

    def _silent(self, now: float, close_s: float = CLOSE_S) -> Frame:
        self._last_payload = opus.silence_after(self._last_payload or NEVER_SPOKEN)
        samples = opus.packet_samples(self._last_payload)
        timestamp = self._end
        if self._last_at is not None and now - self._last_at > close_s:
            timestamp = max(self._end, self.timestamp_at(now))
        frame = Frame(self.next_number, timestamp, samples, False, self._last_payload, self.run)
        self._last_timestamp, self._last_at = timestamp, now
        self._end = timestamp + samples
        self.next_number += 1
        self._floor = self.next_number
        return frame
