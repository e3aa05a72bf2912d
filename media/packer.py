"""Short Opus packets into long ones, for an audience that should cost few packets.

One packer per slot. What comes out carries the packet index of the audience's stream: at 20 ms
holes in the slot's numbers stay holes, and late packets find theirs; in longer packets the
index counts the packets sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from media import opus
from media.slots import Frame

PASS_SAMPLES = 960
"""A packing of 20 ms passes packets as they are."""
LONG_SAMPLES = 2880
"""Packets of 60 ms and more are long enough as they are."""
WAIT_S = 0.02
"""How much longer than the packing itself frames may wait for what follows them."""
MAX_PAYLOAD_BYTES = 1100


@dataclass(frozen=True, slots=True)
class Packed:
    """One packet for the audience. `index` has 48 bits, `timestamp` is extended."""

    index: int
    timestamp: int
    marker: bool
    payload: bytes


class Packer:
    """Frames and the clock in, packets out. `packing` is in samples at 48 kHz."""

    def __init__(self, packing: int = PASS_SAMPLES) -> None:
        self.packing = packing
        self.next_index = 0
        self._run: int | None = None
        self._last = -1
        """Highest number taken in this run."""
        self._shift: int | None = None
        """Index minus number while passing through."""
        self._floor = 0
        """Lowest number that may still be sent late."""
        self._pending: list[Frame] = []
        self._samples = 0
        self._bytes = 0
        self._due: float | None = None

    def push(self, frame: Frame, now: float) -> list[Packed]:
        """Take one frame; returns the packets that are ready, in order."""
        if frame.run == self._run and frame.number <= self._last:
            if self._shift is None or frame.number < self._floor:
                return []
            return [self._packed(frame.number + self._shift, frame, frame.payload)]
        new_run = frame.run != self._run
        if new_run and frame.late:
            return []
        follows = not new_run and frame.number == self._last + 1
        self._run, self._last = frame.run, frame.number
        if self.packing <= PASS_SAMPLES:
            if new_run or self._shift is None:
                self._shift = self.next_index - frame.number
                self._floor = frame.number
            index = frame.number + self._shift
            self.next_index = index + 1
            return [self._packed(index, frame, frame.payload)]
        # A silent frame goes by itself: players know the start of a pause by it.
        alone = frame.samples >= LONG_SAMPLES or len(frame.payload) <= opus.DTX_BYTES
        out = [] if follows and not alone and self._fits(frame) else self.flush()
        if not self._pending:
            self._due = now + self.packing / opus.SAMPLE_RATE + WAIT_S
        self._pending.append(frame)
        self._samples += frame.samples
        self._bytes += len(frame.payload) + 2
        if alone or self._samples >= self.packing:
            out += self.flush()
        return out

    def _fits(self, frame: Frame) -> bool:
        if not self._pending:
            return True
        last = self._pending[-1]
        return (
            not frame.marker
            and frame.payload[0] & 0xFC == last.payload[0] & 0xFC
            and frame.timestamp == last.timestamp + last.samples
            and self._samples + frame.samples <= self.packing
            and self._bytes + len(frame.payload) <= MAX_PAYLOAD_BYTES
        )

    def flush(self) -> list[Packed]:
        """What waits, as one packet."""
        if not self._pending:
            return []
        first = self._pending[0]
        payload = opus.merge([frame.payload for frame in self._pending])
        packed = self._packed(self.next_index, first, payload)
        self.next_index += 1
        self._pending.clear()
        self._samples = self._bytes = 0
        self._due = None
        return [packed]

    def _packed(self, index: int, frame: Frame, payload: bytes) -> Packed:
        return Packed(index, frame.timestamp, frame.marker, payload)

    def tick(self, now: float) -> list[Packed]:
        """Send what has waited long enough."""
        return self.flush() if self._due is not None and now >= self._due else []

    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._due

    def set_packing(self, packing: int) -> list[Packed]:
        """Change the length of packets, in samples; what waits is sent first."""
        if packing == self.packing:
            return []
        out = self.flush()
        self.packing = packing
        self._shift = None
        return out

    def pause(self) -> None:
        """Nobody listens: forget what waits, and go on with the next index at the next frame."""
        self.flush()
        self._shift = None
        self._run = None

    def close_late(self) -> None:
        """From now on send nothing under an index below `next_index`."""
        self._floor = self._last + 1
