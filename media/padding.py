"""Extensions in the padding of Opus packets (draft-ietf-mlcodec-opus-extension), without decoding.

A packet of code 3 may end in padding, which every decoder skips (RFC 6716, section 3.2.5). The
draft gives it a format: extensions one after the other, each an id of 7 bits and a flag L.

- id 0: padding, one byte with L = 1, the whole rest with L = 0;
- id 1: what follows belongs to the next frame (L = 0) or to one a byte's value later (L = 1);
- id 2: the extensions of this frame so far are repeated for every later frame;
- ids 3 to 31 carry L bytes; ids 32 to 127 carry the whole rest (L = 0), or (L = 1) so many bytes
  as the length before them says, each 255 of which means that another byte follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from media import opus

FIRST_LONG = 32
_SEPARATOR, _REPEAT, _FIRST = 1, 2, 3
_LAST = 127


class PaddingError(ValueError):
    """Padding that is no list of extensions."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension of the frame with the number `frame`, from 0. Ids 3 to 31 have at most one
    byte of data."""

    id: int
    data: bytes
    frame: int = 0


@dataclass(frozen=True, slots=True)
class _Parts:
    """Where a packet's frames (with what says their sizes) and its padding are."""

    code: int
    frames: int
    body: bytes
    padding: bytes


def padding_of(packet: bytes) -> bytes:
    """The bytes of a packet's padding, empty where it has none. Raises OpusError."""
    return _parts(packet).padding


def extensions_of(packet: bytes) -> list[Extension]:
    """The extensions in a packet's padding. Raises OpusError for the packet and PaddingError
    for the padding."""
    parts = _parts(packet)
    return parse(parts.padding, parts.frames)


def strip(packet: bytes) -> bytes:
    """The packet without its padding, of code 0 where it has one frame. Raises OpusError."""
    parts = _parts(packet)
    if parts.code < 3:
        return packet
    if parts.frames == 1:
        return bytes((packet[0] & 0xFC,)) + parts.body
    return bytes((packet[0], packet[1] & 0xBF)) + parts.body


def attach(packet: bytes, extensions: Sequence[Extension]) -> bytes:
    """The packet with these extensions of frame 0 in front of what its padding has already.
    The frames are not touched. Raises OpusError, and ValueError for what is no extension."""
    if not extensions:
        return packet
    parts = _parts(packet)
    kept = parts.padding
    if _REPEAT in {byte >> 1 for byte in _headers(kept, parts.frames)}:
        # What is repeated is counted from the frame's beginning: told out instead.
        kept = build(parse(kept, parts.frames))
    padding = build(extensions, more=bool(kept)) + kept
    vbr = packet[1] & 0x80 if parts.code == 3 else 0x80 if parts.code == 2 else 0
    count = vbr | 0x40 | parts.frames
    # `n` length bytes of 255 stand for 254 each, the last for itself.
    full, rest = divmod(len(padding), 254)
    if rest == 0 and full:
        full, rest = full - 1, 254
    lengths = b"\xff" * full + bytes((rest,))
    return bytes((packet[0] | 3, count)) + lengths + parts.body + padding


def room_in(packet: bytes, limit: int) -> int:
    """How many bytes of data one extension may have so that the packet stays within `limit`
    bytes; 0 for a packet that cannot be extended."""
    try:
        _parts(packet)
    except opus.OpusError:
        return 0
    free = limit - len(packet)
    return max(0, free - 2 - (free // 254 + 1) - (free // 255 + 2))


def build(extensions: Sequence[Extension], *, more: bool = True) -> bytes:
    """Extensions as bytes, in the order of their frames. With `more` others may follow, so that
    the last says its length as well."""
    out = bytearray()
    frame = 0
    ordered = sorted(extensions, key=lambda one: one.frame)
    for number, one in enumerate(ordered):
        if not _FIRST <= one.id <= _LAST or (one.id < FIRST_LONG and len(one.data) > 1):
            raise ValueError(f"no extension: id {one.id} with {len(one.data)} bytes")
        step = one.frame - frame
        if step == 1:
            out.append(_SEPARATOR << 1)
        elif step:
            out += bytes((_SEPARATOR << 1 | 1, step))
        frame = one.frame
        if one.id < FIRST_LONG:
            out.append(one.id << 1 | len(one.data))
        elif not more and number == len(ordered) - 1:
            out.append(one.id << 1)
        else:
            full, rest = divmod(len(one.data), 255)
            out.append(one.id << 1 | 1)
            out += b"\xff" * full + bytes((rest,))
        out += one.data
    return bytes(out)


def parse(padding: bytes, frames: int) -> list[Extension]:
    """The extensions in padding bytes, repeated ones told out, in the order of the bytes.
    Raises PaddingError."""
    out: list[Extension] = []
    position = frame = 0
    since: list[tuple[int, int]] = []
    """Headers (id, L) of this frame that a repetition repeats."""
    while position < len(padding) and frame < frames:
        header = padding[position]
        number, flag = header >> 1, header & 1
        position += 1
        if number == 0:
            if not flag:
                break
        elif number == _SEPARATOR:
            step = 1
            if flag:
                step = _byte(padding, position)
                position += 1
                if step == 0:
                    continue
            frame += step
            if frame >= frames:
                raise PaddingError("an extension of a frame that is not there")
            since = []
        elif number == _REPEAT:
            longs = [at for at, (one, _) in enumerate(since) if one >= FIRST_LONG]
            trailing = sum(long for _, long in since[longs[-1] + 1 :]) if longs else 0
            for later in range(frame + 1, frames):
                for at, (one, long) in enumerate(since):
                    last = not flag and later == frames - 1 and longs and at == longs[-1]
                    data, position = _data(
                        padding, position, one, 0 if last else long, trailing if last else 0
                    )
                    out.append(Extension(one, data, later))
            since = []
            if not flag:
                frame += 1
        else:
            data, position = _data(padding, position, number, flag, 0)
            out.append(Extension(number, data, frame))
            since.append((number, flag))
    return out


def _data(
    padding: bytes, position: int, number: int, flag: int, trailing: int
) -> tuple[bytes, int]:
    """An extension's data and where it ends; `trailing` bytes at the very end are not its."""
    if number < FIRST_LONG:
        size = flag
    elif flag:
        size = 0
        while True:
            more = _byte(padding, position)
            position += 1
            size += more
            if more != 255:
                break
    else:
        size = len(padding) - position - trailing
    end = position + size
    if size < 0 or end > len(padding):
        raise PaddingError("an extension is cut off")
    return padding[position:end], end


def _byte(padding: bytes, position: int) -> int:
    if position >= len(padding):
        raise PaddingError("an extension is cut off")
    return padding[position]


def _headers(padding: bytes, frames: int) -> Iterator[int]:
    """The first bytes of the extensions of frame 0 up to a repetition, where they can be read."""
    position = 0
    while position < len(padding):
        header = padding[position]
        number, flag = header >> 1, header & 1
        position += 1
        yield header
        if number in (_SEPARATOR, _REPEAT) or header == 0:
            return
        if number >= _FIRST:
            try:
                _, position = _data(padding, position, number, flag, 0)
            except PaddingError:
                return


def _parts(packet: bytes) -> _Parts:
    opus.packet_samples(packet)
    code, frames = packet[0] & 3, opus.frame_count(packet)
    if code < 3:
        return _Parts(code, frames, packet[1:], b"")
    opus.parse(packet)
    position, size = 2, 0
    if packet[1] & 0x40:
        while True:
            more = packet[position]
            position += 1
            size += 254 if more == 255 else more
            if more != 255:
                break
    end = len(packet) - size
    return _Parts(code, frames, packet[position:end], packet[end:])
