"""The state of a room and what can be read from it. The rules that change it: `chatroom.room`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from chatroom.errors import Forbidden, RoomEnded
from chatroom.protocol import Hand, RoomDraft, RoomInfo, StageMember
from chatroom.roles import Role
from chatroom.room_settings import RoomSettings


class Room(msgspec.Struct, frozen=True):
    """The state of a room, as stored. Replace it (`msgspec.structs.replace`), never change it."""

    room: str
    title: str
    languages: list[str]
    """Languages spoken, the host's first."""
    rules: str
    created_at: float
    """Unix time, seconds; the zero of the room's clock."""
    hosts: list[str]
    """Participant ids; the creator first."""
    stage: list[StageMember]
    """In the order of arrival."""
    stage_limit: int
    hands_limit: int
    removed_limit: int
    hands: list[Hand] = []
    """In the order of raising."""
    removed: list[str] = []
    """Participant ids, the longest gone first; at most `removed_limit`."""
    over: Literal["ended", "expired"] | None = None

    @property
    def ended(self) -> bool:
        return self.over is not None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who gives a command, as their token says. `speaks` None: the room's first language."""

    participant: str
    name: str
    role: Role = Role.LISTENER
    speaks: str | None = None


def new_room(
    room: str, draft: RoomDraft, host: str, now: float, settings: RoomSettings | None = None
) -> Room:
    """A room with its host on stage, not yet publishing. `now` in unix seconds."""
    limits = settings or RoomSettings()
    return Room(
        room=room,
        title=draft.title,
        languages=list(draft.languages),
        rules=draft.rules,
        created_at=now,
        hosts=[host],
        stage=[StageMember(host, draft.host_name, "host", draft.languages[0])],
        stage_limit=limits.stage_limit,
        hands_limit=limits.hands_limit,
        removed_limit=limits.removed_limit,
    )


def clock_ms(room: Room, now: float) -> int:
    """The room's clock at unix time `now`; 0 at the creation, never negative."""
    return max(0, round((now - room.created_at) * 1000))


def info(room: Room, listeners: int) -> RoomInfo:
    """What anybody with the link may know."""
    return RoomInfo(
        room=room.room,
        title=room.title,
        languages=room.languages,
        rules=room.rules,
        created_at=room.created_at,
        ended=room.ended,
        listeners=listeners,
        stage=room.stage,
    )


def member_of(room: Room, participant: str) -> StageMember | None:
    """Their entry on stage, if any."""
    return next((m for m in room.stage if m.participant == participant), None)


def hand_of(room: Room, participant: str) -> Hand | None:
    """Their raised hand, if any; `Hand.invited` says whether they are asked up."""
    return next((h for h in room.hands if h.participant == participant), None)


def role_of(room: Room, participant: str, token_role: Role | str = Role.LISTENER) -> Role:
    """The role now. Host and co-host come from the room or the token and last; speaker is who
    is on stage, whatever the token says."""
    if participant in room.hosts or token_role == Role.HOST:
        return Role.HOST
    if token_role == Role.COHOST:
        return Role.COHOST
    member = member_of(room, participant)
    return Role(member.role) if member else Role.LISTENER


def admit(room: Room, participant: str) -> None:
    """Raises RoomEnded, or Forbidden for somebody who was removed: neither may join, listen,
    publish or read."""
    if room.ended:
        raise RoomEnded("This room has ended.")
    if participant in room.removed:
        raise Forbidden("You were removed from this room.")
