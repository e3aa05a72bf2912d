"""Who may do what: one table.

The server enforces it for every command; the page reads the same table to show only what is
allowed. Rules that depend on more than the role (a listener raises only their own hand, a host
never unmutes somebody else) live in `chatroom.room`.
"""

from __future__ import annotations

import enum


class Role(enum.StrEnum):
    HOST = "host"
    COHOST = "cohost"
    SPEAKER = "speaker"
    LISTENER = "listener"


class Action(enum.StrEnum):
    """What the table is about; one per kind of thing somebody may do."""

    LISTEN = "listen"
    READ_CAPTIONS = "read_captions"
    PUBLISH = "publish"
    RAISE_HAND = "raise_hand"
    LEAVE_STAGE = "leave_stage"
    MUTE_SELF = "mute_self"
    SEE_HANDS = "see_hands"
    LOWER_HANDS = "lower_hands"
    INVITE = "invite"
    MOVE_TO_AUDIENCE = "move_to_audience"
    MUTE_OTHERS = "mute_others"
    REMOVE = "remove"
    END_ROOM = "end_room"


_EVERYONE = frozenset({Action.LISTEN, Action.READ_CAPTIONS})
_STAGE = frozenset({Action.PUBLISH, Action.MUTE_SELF, Action.LEAVE_STAGE})
_KEEPER = frozenset(
    {
        Action.SEE_HANDS,
        Action.LOWER_HANDS,
        Action.INVITE,
        Action.MOVE_TO_AUDIENCE,
        Action.MUTE_OTHERS,
        Action.REMOVE,
    }
)

ALLOWED: dict[Role, frozenset[Action]] = {
    Role.LISTENER: _EVERYONE | {Action.RAISE_HAND},
    Role.SPEAKER: _EVERYONE | _STAGE,
    Role.COHOST: _EVERYONE | _STAGE | _KEEPER,
    Role.HOST: _EVERYONE | _STAGE | _KEEPER | {Action.END_ROOM},
}

ON_STAGE = frozenset({Role.SPEAKER, Role.COHOST, Role.HOST})


def may(role: Role, action: Action) -> bool:
    """Whether the role is allowed the action."""
    return action in ALLOWED[role]
