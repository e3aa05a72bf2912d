"""One command of one participant, however it came: over a WebSocket or over HTTP."""

from __future__ import annotations

import time
from typing import Protocol

from chatroom.errors import BadMessage, ChatroomError
from chatroom.protocol import (
    Caption,
    CaptionsSet,
    Command,
    ErrorReply,
    HandsChanged,
    Hello,
    Ping,
    Pong,
    Reply,
    RoleChanged,
    SetCaptions,
    SetNews,
    Welcome,
)
from chatroom.roles import Role
from chatroom.room import Actor, clock_ms, hand_of, info, role_of
from signaling.hub import Hub
from signaling.languages import readable
from signaling.problems import retry_after_of
from signaling.room_hub import RoomHub
from signaling.tokens import Claims
from signaling.views import Reader, reduce_hands

HISTORY = 50
"""Final captions told to who begins to read."""


class CommandReader(Reader, Protocol):
    """Whose caption language a command may change."""

    captions: str | None
    in_sound: bool


def actor_of(claims: Claims) -> Actor:
    return Actor(claims.participant, claims.name, claims.role, claims.speaks)


def error_reply(error: ChatroomError, of: str | None = None, *, fatal: bool = False) -> ErrorReply:
    """An error as a WebSocket tells it."""
    return ErrorReply(error.code, error.message, of, retry_after_of(error), fatal)


async def execute(
    hub: Hub, room: RoomHub, claims: Claims, command: Command, reader: CommandReader
) -> list[Reply]:
    """Carry the command out; what happened comes to everybody as events. The replies are for
    its sender. Raises what `chatroom.room.apply` raises."""
    now = time.time()
    match command:
        case Hello():
            raise BadMessage("hello is the first message of a WebSocket and comes once.")
        case Ping():
            return [Pong(command.t, clock_ms(room.room, now))]
        case SetCaptions():
            room.admit(claims.participant)
            reader.captions = command.captions
            room.reads(claims.participant, command.captions)
            replies: list[Reply] = [
                CaptionsSet(command.captions, await history(hub, room, command.captions))
            ]
            warning = language_warning(hub, room, command.captions, "set_captions")
            return [*replies, warning] if warning is not None else replies
        case SetNews():
            reader.in_sound = command.in_sound
            return []
        case _:
            await hub.store.apply(room.id, actor_of(claims), command, now)
            return []


async def execute_over_http(
    hub: Hub, room: RoomHub, claims: Claims, command: Command, reader: CommandReader
) -> list[Reply]:
    """The same for who has no socket: a change of the own role is among the replies."""
    before = role_of(room.room, claims.participant, claims.role)
    replies = await execute(hub, room, claims, command, reader)
    if not isinstance(command, Ping | SetCaptions | SetNews):
        after = role_of(await room.refresh(), claims.participant, claims.role)
        if after is not before:
            replies.append(RoleChanged(after.value))
    return replies


async def history(
    hub: Hub, room: RoomHub, language: str | None, cursor: str | None = None
) -> list[Caption]:
    """The latest finals for a reader, oldest first. `cursor` is the newest stored event's, where
    it is known already."""
    newest = cursor if cursor is not None else await hub.store.latest_cursor(room.id)
    return await room.history(newest, language, HISTORY)


def language_warning(hub: Hub, room: RoomHub, language: str | None, of: str) -> ErrorReply | None:
    """What to tell somebody who reads a language that no model here translates into. The choice
    stands: originals are shown, and translations as soon as there is a model."""
    if language is None or readable(hub.status, room.room.languages, language):
        return None
    return ErrorReply(
        "language_unavailable",
        f"No installed model translates this room's languages into {language!r}; captions are "
        "shown as they were said.",
        of,
    )


async def welcome(
    hub: Hub, room: RoomHub, claims: Claims, captions: str | None, cursor: str, *, resumed: bool
) -> Welcome:
    """The state now. `cursor` is where the events that follow begin."""
    now = room.room
    role: Role = role_of(now, claims.participant, claims.role)
    hands = reduce_hands(HandsChanged(now.hands, len(now.hands)), claims.participant, role)
    hand = hand_of(now, claims.participant)
    return Welcome(
        room=info(now, room.listeners),
        participant=claims.participant,
        name=claims.name,
        role=role.value,
        captions=captions,
        cursor=cursor,
        resumed=resumed,
        hands=hands.hands,
        hands_total=hands.total,
        invited=hand is not None and hand.invited,
        talking=list(room.talking),
        history=[] if resumed else await history(hub, room, captions, cursor),
        captions_status=hub.status,
        now_ms=clock_ms(now, time.time()),
    )
