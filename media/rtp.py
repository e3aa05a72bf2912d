"""RTP packets (RFC 3550) with header extensions (RFC 8285), and counters that do not wrap."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

HEADER_BYTES = 12
ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000

_header = struct.Struct("!BBHII")
_extension = struct.Struct("!HH")


class RtpError(ValueError):
    """Bytes that are no RTP packet."""


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One packet. `sequence` has 16 bits, `timestamp` and `ssrc` 32; `extensions` maps the
    local identifier to its data. Padding is not kept."""

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extensions: Mapping[int, bytes] = field(default_factory=dict)


def parse(data: bytes) -> RtpPacket:
    """Read a packet; RtpError says what is wrong with it. Header extensions of an unknown
    profile are skipped, as RFC 3550 section 5.3.1 asks."""
    if len(data) < HEADER_BYTES:
        raise RtpError(f"{len(data)} bytes are shorter than an RTP header")
    first, second, sequence, timestamp, ssrc = _header.unpack_from(data)
    if first >> 6 != 2:
        raise RtpError(f"RTP version {first >> 6}")
    position = HEADER_BYTES + 4 * (first & 0x0F)
    if position > len(data):
        raise RtpError("contributing sources are cut off")
    csrcs = tuple(
        int.from_bytes(data[at : at + 4], "big") for at in range(HEADER_BYTES, position, 4)
    )
    extensions: dict[int, bytes] = {}
    if first & 0x10:
        if position + 4 > len(data):
            raise RtpError("header extension is cut off")
        profile, words = _extension.unpack_from(data, position)
        position += 4
        end = position + 4 * words
        if end > len(data):
            raise RtpError("header extension is cut off")
        extensions = _parse_extensions(profile, data[position:end])
        position = end
    end = len(data)
    if first & 0x20:
        padding = data[-1]
        if padding == 0 or padding > end - position:
            raise RtpError(f"padding of {padding} bytes in {end - position}")
        end -= padding
    return RtpPacket(
        payload_type=second & 0x7F,
        marker=bool(second & 0x80),
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        csrcs=csrcs,
        extensions=extensions,
        payload=data[position:end],
    )


def _parse_extensions(profile: int, data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    two_byte = profile & 0xFFF0 == TWO_BYTE_PROFILE
    if not two_byte and profile != ONE_BYTE_PROFILE:
        return found
    position = 0
    while position < len(data):
        first = data[position]
        position += 1
        if two_byte:
            identifier = first
            if identifier == 0:
                continue
            if position >= len(data):
                raise RtpError("header extension element is cut off")
            length = data[position]
            position += 1
        else:
            identifier = first >> 4
            if identifier == 0:
                continue
            if identifier == 15:
                break
            length = (first & 0x0F) + 1
        if position + length > len(data):
            raise RtpError("header extension element is cut off")
        found.setdefault(identifier, data[position : position + length])
        position += length
    return found


def build(packet: RtpPacket) -> bytes:
    """The bytes of a packet. One-byte extension headers where they fit, else two-byte."""
    if len(packet.csrcs) > 15:
        raise RtpError(f"{len(packet.csrcs)} contributing sources; 15 fit")
    extension = _build_extensions(packet.extensions) if packet.extensions else b""
    head = _header.pack(
        0x80 | (0x10 if extension else 0) | len(packet.csrcs),
        (0x80 if packet.marker else 0) | packet.payload_type & 0x7F,
        packet.sequence & 0xFFFF,
        packet.timestamp & 0xFFFFFFFF,
        packet.ssrc,
    )
    csrcs = b"".join(source.to_bytes(4, "big") for source in packet.csrcs)
    return head + csrcs + extension + packet.payload


def _build_extensions(extensions: Mapping[int, bytes]) -> bytes:
    one_byte = all(
        1 <= identifier <= 14 and 1 <= len(data) <= 16 for identifier, data in extensions.items()
    )
    out = bytearray()
    for identifier, data in extensions.items():
        if one_byte:
            out.append(identifier << 4 | len(data) - 1)
        else:
            if not 1 <= identifier <= 255 or len(data) > 255:
                raise RtpError(f"header extension {identifier} of {len(data)} bytes")
            out += bytes((identifier, len(data)))
        out += data
    out += bytes(-len(out) % 4)
    return _extension.pack(ONE_BYTE_PROFILE if one_byte else TWO_BYTE_PROFILE, len(out) // 4) + out


def audio_packet(
    payload_type: int, marker: bool, index: int, timestamp: int, ssrc: int, payload: bytes
) -> bytes:
    """The bytes of a packet without extensions; `index` and `timestamp` are cut to their width."""
    return (
        _header.pack(
            0x80,
            (0x80 if marker else 0) | payload_type,
            index & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + payload
    )


class Unwrapper:
    """Makes a counter that wraps at 2**bits into one that does not.

    Each value is taken to be the one nearest to the highest seen, at most half a turn away.
    The first value is placed in the first turn.
    """

    __slots__ = ("_half", "_mask", "highest")

    def __init__(self, bits: int) -> None:
        self._mask = (1 << bits) - 1
        self._half = 1 << (bits - 1)
        self.highest: int | None = None
        """Highest extended value so far."""

    def peek(self, value: int) -> int:
        """The extended value, which may be negative right after the start; nothing is kept."""
        if self.highest is None:
            return value
        step = (value - self.highest) & self._mask
        return self.highest + (step if step < self._half else step - self._mask - 1)

    def unwrap(self, value: int) -> int:
        """The extended value."""
        extended = self.peek(value)
        if self.highest is None or extended > self.highest:
            self.highest = extended
        return extended

    def restart(self, value: int) -> int:
        """Begin anew at `value` after a break, more than a turn ahead of everything before."""
        if self.highest is None:
            self.highest = value
        else:
            turn = self._mask + 1
            self.highest = (self.highest // turn + 2) * turn + value
        return self.highest
