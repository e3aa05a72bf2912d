"""RTCP (RFC 3550 section 6, feedback of RFC 4585): what a forwarder of sound writes and reads."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

SENDER_REPORT = 200
RECEIVER_REPORT = 201
DESCRIPTION = 202
GOODBYE = 203
TRANSPORT_FEEDBACK = 205
GENERIC_NACK = 1

NTP_EPOCH = 2_208_988_800
"""Seconds from 1900 (NTP) to 1970 (Unix)."""

_head = struct.Struct("!BBH")
_sender = struct.Struct("!IQIII")
_block = struct.Struct("!IIIIII")
_nack = struct.Struct("!HH")


class RtcpError(ValueError):
    """Bytes that are no compound RTCP packet."""


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """How one source is received. `fraction_lost` is in 1/256, `jitter` in timestamp units,
    `last_report` the middle 32 bits of an NTP time, `delay` in 1/65536 s."""

    ssrc: int
    fraction_lost: int = 0
    packets_lost: int = 0
    highest_sequence: int = 0
    jitter: int = 0
    last_report: int = 0
    delay: int = 0


@dataclass(frozen=True, slots=True)
class SenderReport:
    """`ntp` is a 64-bit NTP time; counts are modulo 2**32."""

    ssrc: int
    ntp: int
    timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True)
class Nack:
    """Sequence numbers that a receiver asks for again."""

    ssrc: int
    media_ssrc: int
    sequences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    ssrcs: tuple[int, ...]


RtcpMessage = SenderReport | ReceiverReport | Nack | Goodbye


def ntp_time(unix_s: float) -> int:
    """64-bit NTP time of a Unix time."""
    return round((unix_s + NTP_EPOCH) * (1 << 32)) & 0xFFFF_FFFF_FFFF_FFFF


def middle(ntp: int) -> int:
    """The middle 32 bits of an NTP time, as report blocks carry them."""
    return ntp >> 16 & 0xFFFF_FFFF


def parse(data: bytes) -> list[RtcpMessage]:
    """Read a compound packet; kinds that are of no use here are skipped. RtcpError where the
    framing is broken."""
    messages: list[RtcpMessage] = []
    position = 0
    if not data:
        raise RtcpError("empty packet")
    while position < len(data):
        if position + 4 > len(data):
            raise RtcpError("header is cut off")
        first, kind, words = _head.unpack_from(data, position)
        if first >> 6 != 2:
            raise RtcpError(f"RTCP version {first >> 6}")
        end = position + 4 + 4 * words
        if end > len(data):
            raise RtcpError("packet is cut off")
        body = data[position + 4 : end]
        if first & 0x20:
            if not body or body[-1] == 0 or body[-1] > len(body):
                raise RtcpError("bad padding")
            body = body[: -body[-1]]
        message = _parse_one(kind, first & 0x1F, body)
        if message is not None:
            messages.append(message)
        position = end
    return messages


def _parse_one(kind: int, count: int, body: bytes) -> RtcpMessage | None:
    if kind == SENDER_REPORT:
        if len(body) < _sender.size:
            raise RtcpError("sender report is cut off")
        ssrc, ntp, timestamp, packets, octets = _sender.unpack_from(body)
        blocks = _parse_blocks(body, _sender.size, count)
        return SenderReport(ssrc, ntp, timestamp, packets, octets, blocks)
    if kind == RECEIVER_REPORT:
        if len(body) < 4:
            raise RtcpError("receiver report is cut off")
        return ReceiverReport(int.from_bytes(body[:4], "big"), _parse_blocks(body, 4, count))
    if kind == TRANSPORT_FEEDBACK and count == GENERIC_NACK:
        return _parse_nack(body)
    if kind == GOODBYE:
        if len(body) < 4 * count:
            raise RtcpError("goodbye is cut off")
        return Goodbye(
            tuple(int.from_bytes(body[at : at + 4], "big") for at in range(0, 4 * count, 4))
        )
    return None


def _parse_blocks(body: bytes, start: int, count: int) -> tuple[ReportBlock, ...]:
    if start + count * _block.size > len(body):
        raise RtcpError("report blocks are cut off")
    blocks = []
    for at in range(start, start + count * _block.size, _block.size):
        ssrc, lost, highest, jitter, last, delay = _block.unpack_from(body, at)
        cumulative = lost & 0xFFFFFF
        if cumulative & 0x800000:
            cumulative -= 1 << 24
        blocks.append(ReportBlock(ssrc, lost >> 24, cumulative, highest, jitter, last, delay))
    return tuple(blocks)


def _parse_nack(body: bytes) -> Nack:
    if len(body) < 8 or len(body) % 4:
        raise RtcpError("NACK is cut off")
    sequences: list[int] = []
    for at in range(8, len(body), 4):
        base, mask = _nack.unpack_from(body, at)
        sequences.append(base)
        sequences.extend((base + 1 + bit) & 0xFFFF for bit in range(16) if mask >> bit & 1)
    return Nack(int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big"), tuple(sequences))


def build_sender_report(report: SenderReport, cname: str) -> bytes:
    """A compound packet of a sender report and its source's description."""
    body = _sender.pack(
        report.ssrc,
        report.ntp,
        report.timestamp & 0xFFFF_FFFF,
        report.packets & 0xFFFF_FFFF,
        report.octets & 0xFFFF_FFFF,
    )
    body += _build_blocks(report.blocks)
    return _frame(SENDER_REPORT, len(report.blocks), body) + build_description(report.ssrc, cname)


def build_receiver_report(report: ReceiverReport, cname: str) -> bytes:
    """A compound packet of a receiver report and its author's description."""
    body = report.ssrc.to_bytes(4, "big") + _build_blocks(report.blocks)
    return _frame(RECEIVER_REPORT, len(report.blocks), body) + build_description(report.ssrc, cname)


def build_description(ssrc: int, cname: str) -> bytes:
    """SDES with one canonical name of at most 255 bytes."""
    name = cname.encode()[:255]
    body = ssrc.to_bytes(4, "big") + bytes((1, len(name))) + name
    return _frame(DESCRIPTION, 1, body + bytes(4 - len(body) % 4))


def build_nack(nack: Nack) -> bytes:
    """A generic NACK; sequence numbers are grouped in the order given."""
    pairs: list[list[int]] = []
    for sequence in nack.sequences:
        ahead = (sequence - pairs[-1][0] & 0xFFFF) if pairs else 0
        if pairs and 1 <= ahead <= 16:
            pairs[-1][1] |= 1 << ahead - 1
        else:
            pairs.append([sequence, 0])
    body = nack.ssrc.to_bytes(4, "big") + nack.media_ssrc.to_bytes(4, "big")
    return _frame(
        TRANSPORT_FEEDBACK, GENERIC_NACK, body + b"".join(_nack.pack(*pair) for pair in pairs)
    )


def _build_blocks(blocks: Sequence[ReportBlock]) -> bytes:
    if len(blocks) > 31:
        raise RtcpError(f"{len(blocks)} report blocks; 31 fit")
    out = bytearray()
    for block in blocks:
        lost = max(-0x800000, min(0x7FFFFF, block.packets_lost)) & 0xFFFFFF
        out += _block.pack(
            block.ssrc,
            (block.fraction_lost & 0xFF) << 24 | lost,
            block.highest_sequence & 0xFFFF_FFFF,
            min(block.jitter, 0xFFFF_FFFF),
            block.last_report,
            min(block.delay, 0xFFFF_FFFF),
        )
    return bytes(out)


def _frame(kind: int, count: int, body: bytes) -> bytes:
    return _head.pack(0x80 | count, kind, len(body) // 4) + body
