"""What travels between processes: msgpack behind a version, `[1, type, payload]`.

Events carry a fourth element where they are stored too: the cursor of the entry in the room's
stream, which the store appends. Media travels in batches of frames and never has a cursor.
Whatever cannot be decoded raises BadMessage and nothing else; receivers count it and go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgpack
import msgspec

from chatroom.errors import BadMessage
from chatroom.protocol import EVENTS, Event, Record, StageMember, type_of

VERSION = 1
MAX_MESSAGE_BYTES = 1024 * 1024
MAX_ITEMS = 65_536
MAX_FRAMES = 512
MAX_PAYLOAD_BYTES = 1500

_HEAD_PLAIN = b"\x93"  # msgpack: array of three
_HEAD_STORED = b"\x94"  # array of four: the store's scripts append the cursor


class MediaFrame(Record, frozen=True):
    """20 ms of one speaker's sound."""

    node: str
    """The node that received it; a node skips its own."""
    participant: str
    sequence: int
    """Extended RTP sequence number: never wraps."""
    timestamp: int
    """Extended RTP timestamp, 48 kHz: never wraps."""
    received_ms: int
    """Unix time in ms at the node that received it."""
    level_dbov: int
    """RFC 6464: 0 loudest to 127 silence, in -dBov."""
    payload: bytes
    """One Opus packet."""


class FrameBatch(Record, frozen=True):
    """Some frames of a room, in the order they came, of any speakers."""

    frames: list[MediaFrame]


class SpeakerChanged(Record, frozen=True):
    """A note to workers and nodes: somebody on stage is different now. Who left the stage is
    reported once more with `on_stage` and `connected` false."""

    participant: str
    name: str
    speaks: str
    muted: bool
    connected: bool
    on_stage: bool = True


MediaMessage = FrameBatch | SpeakerChanged

_LIMITS: dict[str, Any] = {
    "raw": False,
    "strict_map_key": True,
    "max_str_len": MAX_MESSAGE_BYTES,
    "max_bin_len": MAX_MESSAGE_BYTES,
    "max_array_len": MAX_ITEMS,
    "max_map_len": MAX_ITEMS,
    "max_ext_len": 0,
}
_NOT_MSGPACK = (msgpack.UnpackException, ValueError, TypeError, RecursionError)

_EVENTS = {kind.__struct_config__.tag: kind for kind in EVENTS}
_FRAMES = "frames"
_SPEAKER = "speaker"


def encode_event(event: Event) -> bytes:
    """`[1, type, payload]`."""
    return _HEAD_PLAIN + encode_event_body(event)


def encode_event_body(event: Event) -> bytes:
    """The three elements of `encode_event` without the head byte: scripts put `0x93` before it
    for the stream, `0x94` before and the cursor behind for the live channel."""
    payload = msgspec.to_builtins(event)
    del payload["type"]
    return _body(type_of(event), payload)


def decode_event(data: bytes) -> tuple[str | None, Event]:
    """The cursor, if the event is stored, and the event. Raises BadMessage."""
    return _event(unpack(data))


def decode_events(data: bytes) -> list[Event]:
    """Events one after the other, as the store keeps them. Raises BadMessage."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) or 1, **_LIMITS)
    unpacker.feed(data)
    values = []
    try:
        while unpacker.tell() < len(data):
            values.append(unpacker.unpack())
    except _NOT_MSGPACK as error:
        raise BadMessage(f"Not msgpack: {type(error).__name__}.") from None
    return [_event(value)[1] for value in values]


def _event(value: Any) -> tuple[str | None, Event]:
    kind, payload, cursor = _open(value)
    event_type = _EVENTS.get(kind)
    if event_type is None:
        raise BadMessage(f"{kind!r} is no event.")
    if not isinstance(payload, dict) or "type" in payload:
        raise BadMessage("The payload of an event is a map of its fields.")
    if cursor is not None and not isinstance(cursor, str):
        raise BadMessage("The cursor of an event is a string.")
    # By its own type: msgspec knows a struct at once, but works out a union at every call.
    event: Event = _convert(payload, event_type)
    return cursor, event


def encode_media(message: MediaMessage | Sequence[MediaFrame]) -> bytes:
    """A batch of frames, or a note on a speaker."""
    if isinstance(message, SpeakerChanged):
        return _HEAD_PLAIN + _body(_SPEAKER, msgspec.to_builtins(message))
    frames = message.frames if isinstance(message, FrameBatch) else message
    if len(frames) > MAX_FRAMES:
        raise ValueError(f"a batch holds at most {MAX_FRAMES} frames, not {len(frames)}")
    # Rows without names: the names would weigh more than the sound.
    return _HEAD_PLAIN + _body(_FRAMES, [_row(frame) for frame in frames])


def decode_media(data: bytes) -> MediaMessage:
    """Raises BadMessage."""
    kind, payload, _ = _open(unpack(data))
    if kind == _SPEAKER:
        note: SpeakerChanged = _convert(payload, SpeakerChanged)
        return note
    if kind != _FRAMES:
        raise BadMessage(f"{kind!r} is no message of a media channel.")
    if not isinstance(payload, list) or len(payload) > MAX_FRAMES:
        raise BadMessage(f"A batch is a list of at most {MAX_FRAMES} frames.")
    return FrameBatch([_frame(row) for row in payload])


def speaker_changes(
    before: Iterable[StageMember], after: Iterable[StageMember]
) -> list[SpeakerChanged]:
    """The notes that tell of the step from one stage to the next."""
    known = {member.participant: member for member in before}
    notes = [
        SpeakerChanged(m.participant, m.name, m.speaks, m.muted, m.connected)
        for m in after
        if known.pop(m.participant, None) != m
    ]
    gone = [
        SpeakerChanged(m.participant, m.name, m.speaks, m.muted, connected=False, on_stage=False)
        for m in known.values()
    ]
    return notes + gone


# ------------------------------------------------------------------------------- inside


def pack(value: Any) -> bytes:
    """msgpack of builtins, for what is stored rather than sent."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(data: bytes, limit: int = MAX_MESSAGE_BYTES) -> Any:
    """The inverse of `pack`. Raises BadMessage for anything that is not one whole msgpack value
    of at most `limit` bytes with string keys."""
    if len(data) > limit:
        raise BadMessage(f"A message has at most {limit} bytes, not {len(data)}.")
    try:
        return msgpack.unpackb(data, **_LIMITS)
    except _NOT_MSGPACK as error:
        raise BadMessage(f"Not msgpack: {type(error).__name__}.") from None


def _body(kind: str, payload: Any) -> bytes:
    return pack(VERSION) + pack(kind) + pack(payload)


def _open(value: Any) -> tuple[str, Any, Any]:
    """Type, payload, cursor."""
    match value:
        case [int(version), str(kind), payload, *rest] if len(rest) <= 1:
            if version != VERSION or isinstance(version, bool):
                raise BadMessage(f"Bus version {version} is not known here, only {VERSION}.")
            return kind, payload, rest[0] if rest else None
    raise BadMessage("A message is [version, type, payload].")


def _convert(value: Any, to: Any) -> Any:
    try:
        return msgspec.convert(value, to)
    except (msgspec.ValidationError, TypeError) as error:
        raise BadMessage(f"The message is not valid: {error}.") from None


def _row(f: MediaFrame) -> list[Any]:
    return [f.node, f.participant, f.sequence, f.timestamp, f.received_ms, f.level_dbov, f.payload]


def _frame(row: Any) -> MediaFrame:
    match row:
        case [
            str(node),
            str(participant),
            int(sequence),
            int(timestamp),
            int(received_ms),
            int(level),
            bytes(payload),
        ] if 0 <= level <= 127 and len(payload) <= MAX_PAYLOAD_BYTES and sequence >= 0:
            return MediaFrame(node, participant, sequence, timestamp, received_ms, level, payload)
    raise BadMessage("A frame does not have the form of a frame.")
