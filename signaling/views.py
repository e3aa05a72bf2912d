"""What of an event somebody may see, and its bytes. Pure.

A broadcast is encoded once for every *view* of it, never once per socket: caption events have one
view per caption language, hands one for hosts, one for everybody without a hand, and one for each
person whose hand is up. The bytes are a whole WebSocket frame (RFC 6455), ready to be written.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Protocol

import msgspec

from chatroom.protocol import (
    Caption,
    CaptionPosted,
    CaptionsStatusChanged,
    Envelope,
    Event,
    HandsChanged,
    InvitationAnswered,
    Invited,
    Presence,
    Removed,
    Reply,
    Talking,
    encode_json,
)
from chatroom.roles import Action, Role, may

_EVERYBODY = "everybody"
_TOTAL = "total"

IN_SOUND = (CaptionPosted, Talking, Presence, CaptionsStatusChanged)
"""Events that who reads them in the sound does not need on a socket as well."""

TRANSIENT = (Talking, Presence, CaptionsStatusChanged)
"""Events whose next one says it all again: left out for a client that does not keep up."""


class Reader(Protocol):
    """Who looks: participant id, present role, caption language (None: originals alone)."""

    @property
    def participant(self) -> str: ...
    @property
    def role(self) -> Role: ...
    @property
    def captions(self) -> str | None: ...


def reduce_caption(caption: Caption, language: str | None) -> Caption:
    """A caption with the reader's language alone in its translations."""
    return msgspec.structs.replace(
        caption,
        translations={k: v for k, v in caption.translations.items() if k == language},
        untranslated={k: v for k, v in caption.untranslated.items() if k == language},
    )


def reduce_hands(hands: HandsChanged, participant: str, role: Role) -> HandsChanged:
    """The whole queue for who keeps the room; for others their own entry and the total."""
    if may(role, Action.SEE_HANDS):
        return hands
    own = [hand for hand in hands.hands if hand.participant == participant]
    return HandsChanged(hands=own, total=hands.total)


def view_of(
    event: Event, reader: Reader, hands_up: frozenset[str] | None = None
) -> Hashable | None:
    """Which view of the event the reader gets; None for no view at all. Readers with equal
    views get equal bytes. `hands_up`, who has a hand up, saves finding it out for each reader."""
    match event:
        case CaptionPosted():
            return ("captions", reader.captions)
        case HandsChanged():
            if may(reader.role, Action.SEE_HANDS):
                return _EVERYBODY
            up = hands_up if hands_up is not None else _hands_up(event)
            return ("own", reader.participant) if reader.participant in up else _TOTAL
        case Invited() | InvitationAnswered() | Removed():
            if event.participant == reader.participant or may(reader.role, Action.SEE_HANDS):
                return _EVERYBODY
            return None
        case _:
            return _EVERYBODY


def _hands_up(event: Event) -> frozenset[str]:
    if isinstance(event, HandsChanged):
        return frozenset(hand.participant for hand in event.hands)
    return frozenset()


def seen_by(event: Event, reader: Reader) -> Event | None:
    """The event as the reader may see it, or None."""
    if view_of(event, reader) is None:
        return None
    match event:
        case CaptionPosted():
            return CaptionPosted(reduce_caption(event.caption, reader.captions))
        case HandsChanged():
            return reduce_hands(event, reader.participant, reader.role)
        case _:
            return event


def is_transient(event: Event) -> bool:
    """Whether the event may be left out for a client that does not keep up: news that pass, and
    captions that are not final."""
    if isinstance(event, CaptionPosted):
        return not event.caption.final
    return isinstance(event, TRANSIENT)


class Fanout:
    """One event on its way to many readers: each view is reduced and encoded once."""

    __slots__ = ("_cursor", "_event", "_frames", "_hands_up", "in_sound", "transient")

    def __init__(self, event: Event, cursor: str | None) -> None:
        self._event = event
        self._cursor = cursor
        self._frames: dict[Hashable, bytes] = {}
        self._hands_up = _hands_up(event)
        self.transient = is_transient(event)
        self.in_sound = isinstance(event, IN_SOUND)

    def frame(self, reader: Reader) -> bytes | None:
        """The WebSocket frame for the reader, None when it is not for them."""
        view = view_of(self._event, reader, self._hands_up)
        if view is None:
            return None
        frame = self._frames.get(view)
        if frame is None:
            seen = seen_by(self._event, reader)
            assert seen is not None
            frame = self._frames[view] = envelope_frame(seen, self._cursor)
        return frame

    @property
    def encoded(self) -> int:
        """How many views were encoded so far."""
        return len(self._frames)


def envelope_frame(message: Event | Reply, cursor: str | None = None) -> bytes:
    """A message in its envelope, as a WebSocket frame."""
    return text_frame(encode_json(Envelope(m=message, id=cursor)))


def text_frame(payload: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


def cursor_key(cursor: str) -> tuple[int, int]:
    """Cursors in the order of the stream."""
    ms, _, sequence = cursor.partition("-")
    return int(ms), int(sequence)
