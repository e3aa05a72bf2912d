"""What a room's audience is told in the sound (docs/in-band.md), beside its sockets.

Only what everybody may see goes there: an event is reduced to what a stranger who listens sees of
it, once for every language that somebody here reads in the sound.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Protocol

from chatroom.protocol import (
    CaptionPosted,
    CaptionsStatusChanged,
    Envelope,
    Event,
    Presence,
    RoomOver,
    StageChanged,
    Talking,
    encode_json,
)
from chatroom.roles import Role
from chatroom.room import Room, clock_ms
from signaling.views import seen_by

log = logging.getLogger(__name__)

MAX_LANGUAGES = 32
"""Read in the sound of one room at once: each costs a packet of its own beside the others."""
REPEAT_S = 5.0
"""What passes is said again after this, for those who came."""

_TOLD = (StageChanged, CaptionPosted, Talking, Presence, CaptionsStatusChanged, RoomOver)


class Sound(Protocol):
    """What the news need of the media port."""

    def news_languages(self, room: str) -> frozenset[str]: ...
    def bulletin(
        self, room: str, news: str, key: str, body: bytes, *, kept: bool, age_s: float = 0.0
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Stranger:
    """Anybody who listens."""

    captions: str | None
    participant: str = ""
    role: Role = Role.LISTENER


class RoomNews:
    """One room's."""

    def __init__(self, room: str) -> None:
        self._room = room
        self._repeat_at = 0.0

    def tell(self, sound: Sound, room: Room, event: Event, cursor: str | None) -> None:
        """An event, to all who read in the sound here. Stored ones must not be missed."""
        if not isinstance(event, _TOLD):
            return
        key, age_s = type(event).__name__, 0.0
        if isinstance(event, CaptionPosted):
            key = event.caption.utterance
            age_s = max(0.0, (clock_ms(room, time.time()) - event.caption.start_ms) / 1000)
        for language in sound.news_languages(self._room):
            seen = seen_by(event, _Stranger(language or None))
            if seen is None:
                continue
            body = encode_json(Envelope(m=seen, id=cursor))
            try:
                sound.bulletin(
                    self._room, language, key, body, kept=cursor is not None, age_s=age_s
                )
            except ValueError as error:
                # Too long: who reads it is told of by the digest of the next and asks.
                log.warning("room news: %s", error)

    def repeat(
        self,
        sound: Sound,
        room: Room,
        now: float,
        talking: Talking,
        presence: Presence,
        status: CaptionsStatusChanged,
    ) -> None:
        """Say what passes again, now and then. `now` on time.monotonic()'s clock."""
        if now < self._repeat_at or not sound.news_languages(self._room):
            return
        self._repeat_at = now + REPEAT_S
        for event in (talking, presence, status):
            self.tell(sound, room, event, None)
