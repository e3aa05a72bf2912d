"""What the media port hands to and hears from the floor above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

SessionKind = Literal["publish", "listen"]
SessionState = Literal["connected", "closed"]

REPLACED = "replaced by a newer session"
"""Why a publishing session closed whose participant has opened another one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One Opus packet of a publisher, mostly 20 ms. `sequence` and `timestamp` (48 kHz) are
    extended, do not wrap, and leap ahead where the publisher began anew; `level_dbov` is 0
    (loudest) to 127 (silence); `received` is Unix time in seconds."""

    sequence: int
    timestamp: int
    level_dbov: int
    payload: bytes
    received: float


@dataclass(slots=True)
class MediaSession:
    """One session of WHIP ("publish") or WHEP ("listen"). `id` cannot be guessed. `answer` is
    the SDP of its beginning; `etag` changes with every ICE restart."""

    id: str
    kind: SessionKind
    room: str
    participant: str
    answer: str
    etag: str


class MediaEvents(Protocol):
    """Who is told. Called on the event loop; must return at once; exceptions are logged."""

    def talking_changed(self, room: str, slots: tuple[str | None, ...]) -> None:
        """Other people are heard now; participants by slot."""

    def frame_received(self, room: str, participant: str, frame: Frame) -> None:
        """A publisher who is not muted sent this, in the order of arrival."""

    def session_changed(
        self,
        room: str,
        participant: str,
        session: str,
        kind: SessionKind,
        state: SessionState,
        reason: str,
    ) -> None:
        """A session connected, or is over; `reason` is empty for the former."""
