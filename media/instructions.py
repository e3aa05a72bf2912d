"""What the forwarding loop tells the data plane to do, in order, and what it heard."""

from __future__ import annotations

from dataclasses import dataclass

from media.source import Arrival


@dataclass(frozen=True, slots=True)
class SendGroup:
    """One packet to the audience of the program with `program` slots, of it to those who read
    this language in the sound (None: nothing, "": originals)."""

    program: int
    packet: bytes
    index: int
    spread_s: float
    news: str | None = None


@dataclass(frozen=True, slots=True)
class SendPeer:
    session: str
    packet: bytes
    index: int


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Into the group of a program and language, and out of any other."""

    session: str
    program: int
    payload_type: int
    offsets: dict[int, int]
    news: str | None = None


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    session: str
    program: int


@dataclass(frozen=True, slots=True)
class ReportGroup:
    """A compound RTCP packet to all of a program's audience."""

    program: int
    packet: bytes


@dataclass(frozen=True, slots=True)
class ReportPeer:
    """A compound RTCP packet to one session."""

    session: str
    packet: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """A publisher who is not muted sent this."""

    participant: str
    arrival: Arrival


Output = SendGroup | SendPeer | JoinGroup | LeaveGroup | ReportGroup | ReportPeer | Heard
