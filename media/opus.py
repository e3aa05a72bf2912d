"""Opus packets (RFC 6716 section 3): reading them, joining and splitting them, without decoding.

Lengths of time are in samples at 48 kHz, the clock of Opus in RTP (RFC 7587).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SAMPLE_RATE = 48_000
MAX_FRAME_BYTES = 1275
MAX_PACKET_SAMPLES = 5760
"""120 ms."""
DTX_BYTES = 2
"""A packet of at most this many bytes carries no sound (discontinuous transmission)."""


class OpusError(ValueError):
    """Bytes that break one of the requirements R1 to R7 of RFC 6716 section 3.4."""


@dataclass(frozen=True, slots=True)
class OpusPacket:
    """A packet taken apart. `toc` is its first byte without the frame count code, so that
    packets whose frames can be joined have equal ones."""

    toc: int
    frames: tuple[bytes, ...]

    @property
    def samples(self) -> int:
        return len(self.frames) * frame_samples(self.toc)


def frame_samples(toc: int) -> int:
    """Length of one frame (RFC 6716, table 2)."""
    config = toc >> 3
    if config < 12:
        return (480, 960, 1920, 2880)[config & 3]
    if config < 16:
        return (480, 960)[config & 1]
    return 120 << (config & 3)


def frame_count(packet: bytes) -> int:
    """How many frames a packet says it holds."""
    if not packet:
        raise OpusError("empty packet")
    code = packet[0] & 3
    if code < 3:
        return 1 if code == 0 else 2
    if len(packet) < 2:
        raise OpusError("frame count is cut off")
    count = packet[1] & 0x3F
    if count == 0:
        raise OpusError("a packet of no frames")
    return count


def packet_samples(packet: bytes) -> int:
    """Length of a packet, from its first two bytes alone."""
    samples = frame_count(packet) * frame_samples(packet[0])
    if samples > MAX_PACKET_SAMPLES:
        raise OpusError(f"{samples} samples are longer than 120 ms")
    return samples


def parse(packet: bytes) -> OpusPacket:
    """Take a packet apart; its padding is left out."""
    packet_samples(packet)
    toc = packet[0] & 0xFC
    code = packet[0] & 3
    body = packet[1:]
    if code == 0:
        frames = [body]
    elif code == 1:
        if len(body) % 2:
            raise OpusError("two frames of equal size in an odd number of bytes")
        half = len(body) // 2
        frames = [body[:half], body[half:]]
    elif code == 2:
        size, used = _read_size(body, 0)
        if used + size > len(body):
            raise OpusError("first frame is cut off")
        frames = [body[used : used + size], body[used + size :]]
    else:
        frames = _parse_many(packet)
    if max(map(len, frames)) > MAX_FRAME_BYTES:
        raise OpusError(f"a frame of more than {MAX_FRAME_BYTES} bytes")
    return OpusPacket(toc, tuple(frames))


def _parse_many(packet: bytes) -> list[bytes]:
    count = packet[1] & 0x3F
    position = 2
    end = len(packet)
    if packet[1] & 0x40:
        while True:
            if position >= len(packet):
                raise OpusError("padding length is cut off")
            more = packet[position]
            position += 1
            end -= 254 if more == 255 else more
            if more != 255:
                break
        if end < position:
            raise OpusError("more padding than packet")
    if not packet[1] & 0x80:
        size, rest = divmod(end - position, count)
        if rest:
            raise OpusError(f"{end - position} bytes for {count} frames of equal size")
        sizes = [size] * count
    else:
        sizes = []
        for _ in range(count - 1):
            size, used = _read_size(packet, position)
            position += used
            sizes.append(size)
        last = end - position - sum(sizes)
        if last < 0:
            raise OpusError("frames are cut off")
        sizes.append(last)
    frames = []
    for size in sizes:
        frames.append(packet[position : position + size])
        position += size
    return frames


def _read_size(data: bytes, position: int) -> tuple[int, int]:
    """A frame's size and how many bytes say it (section 3.2.1)."""
    if position >= len(data):
        raise OpusError("frame size is cut off")
    first = data[position]
    if first < 252:
        return first, 1
    if position + 1 >= len(data):
        raise OpusError("frame size is cut off")
    return first + 4 * data[position + 1], 2


def _write_size(size: int) -> bytes:
    if size < 252:
        return bytes((size,))
    first = 252 + (size & 3)
    return bytes((first, (size - first) // 4))


def merge(packets: Sequence[bytes]) -> bytes:
    """Join packets of equal configuration and channels into one of code 3; one packet of one
    frame stays as it is. OpusError where they differ or make more than 120 ms."""
    if len(packets) == 1 and packets[0] and packets[0][0] & 3 == 0:
        return packets[0]
    parsed = [parse(packet) for packet in packets]
    if not parsed:
        raise OpusError("nothing to join")
    toc = parsed[0].toc
    if any(packet.toc != toc for packet in parsed):
        raise OpusError("packets of different configurations")
    return build(toc, [frame for packet in parsed for frame in packet.frames])


def build(toc: int, frames: Sequence[bytes]) -> bytes:
    """A packet of code 0 for one frame, else of code 3: constant bit rate where all frames
    have the same size, variable otherwise."""
    if not frames:
        raise OpusError("a packet of no frames")
    if len(frames) * frame_samples(toc) > MAX_PACKET_SAMPLES:
        raise OpusError(f"{len(frames)} frames are longer than 120 ms")
    if max(map(len, frames)) > MAX_FRAME_BYTES:
        raise OpusError(f"a frame of more than {MAX_FRAME_BYTES} bytes")
    if len(frames) == 1:
        return bytes((toc & 0xFC,)) + frames[0]
    size = len(frames[0])
    if all(len(frame) == size for frame in frames):
        return bytes((toc | 3, len(frames))) + b"".join(frames)
    sizes = b"".join(_write_size(len(frame)) for frame in frames[:-1])
    return bytes((toc | 3, 0x80 | len(frames))) + sizes + b"".join(frames)


def split(packet: bytes) -> list[bytes]:
    """The packet's frames, each as a packet of its own (code 0)."""
    parsed = parse(packet)
    return [bytes((parsed.toc,)) + frame for frame in parsed.frames]


def silence_after(packet: bytes) -> bytes:
    """A packet without sound that ends a run: a decoder fades out and is told that nothing is
    lost when nothing follows."""
    if not packet:
        raise OpusError("empty packet")
    return bytes((packet[0] & 0xFC,))
