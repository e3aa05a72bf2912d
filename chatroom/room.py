"""The room: a command and the time in, a new room and events out. Never awaits, never does I/O.

A `Room` is the whole state that rooms' rules need, small enough to be replaced as one value; the
audience is not in it. `apply` checks the rules and returns the next state; the store makes that
atomic across nodes. The rules, beside the table in `chatroom.roles`:

- the host is on stage from the start, cannot be removed nor moved to the audience by somebody
  else; a keeper (host, co-host) who left the stage returns by inviting themself;
- the way up: raise a hand, be invited, accept. Who is on stage has no hand up;
- the stage limit holds at the invitation and again at the answer: an invitation holds no seat;
- nobody unmutes anybody but themself;
- who was removed can do nothing more in the room, under that id;
- after the end every command gets RoomEnded.

Repeating a command that has taken effect changes nothing and is no error. Events carry whole
lists; what each receiver may see of them (`HandsChanged`) is decided where they are sent.
"""

from __future__ import annotations

import msgspec

from chatroom.errors import (
    BadMessage,
    Conflict,
    Forbidden,
    ParticipantNotFound,
    StageFull,
    TooManyRequests,
)
from chatroom.protocol import (
    AnswerInvitation,
    Command,
    EndRoom,
    Event,
    Hand,
    HandsChanged,
    InvitationAnswered,
    Invite,
    Invited,
    LeaveStage,
    LowerHand,
    Message,
    RaiseHand,
    Remove,
    Removed,
    RoomOver,
    SetMuted,
    SetSpeaks,
    StageChanged,
    StageMember,
    type_of,
)
from chatroom.roles import Action, Role, may
from chatroom.room_state import (
    Actor,
    Room,
    admit,
    clock_ms,
    hand_of,
    info,
    member_of,
    new_room,
    role_of,
)

__all__ = [
    "Actor",
    "Outcome",
    "Room",
    "admit",
    "apply",
    "clock_ms",
    "connect",
    "hand_of",
    "info",
    "member_of",
    "new_room",
    "role_of",
]

Outcome = tuple[Room, list[Event]]
"""The room after a step, and what happened."""


def connect(room: Room, participant: str, connected: bool) -> Outcome:
    """A publishing session opened or closed. Opening one raises Forbidden for who is not on
    stage (they may have been moved while it was set up) and what `admit` raises; closing never
    fails."""
    if connected:
        admit(room, participant)
    member = member_of(room, participant)
    if member is None:
        if connected:
            raise Forbidden("Only people on stage may publish.")
        return room, []
    if member.connected == connected:
        return room, []
    return _with_member(room, msgspec.structs.replace(member, connected=connected))


def apply(room: Room, actor: Actor, command: Command, now: float) -> Outcome:
    """The room after the command, and what happened. `now` in unix seconds.

    Raises RoomEnded, Forbidden (role, rule or removed), StageFull, Conflict (the other is not
    in the state that this needs), ParticipantNotFound, TooManyRequests (too many hands), and
    BadMessage for commands that are no business of the room (hello, ping, set_captions).
    """
    admit(room, actor.participant)
    match command:
        case RaiseHand():
            return _raise_hand(room, actor, command, now)
        case LowerHand():
            return _lower_hand(room, actor, command)
        case Invite():
            return _invite(room, actor, command)
        case AnswerInvitation():
            return _answer(room, actor, command)
        case LeaveStage():
            return _leave_stage(room, actor, command)
        case SetMuted():
            return _set_muted(room, actor, command)
        case Remove():
            return _remove(room, actor, command)
        case SetSpeaks():
            return _set_speaks(room, actor, command)
        case EndRoom():
            _require(room, actor, Action.END_ROOM, "Only the host may end the room.")
            over = msgspec.structs.replace(room, stage=[], hands=[], over="ended")
            return over, [RoomOver("ended")]
    assert isinstance(command, Message)
    raise BadMessage(f"The room takes no command of type {type_of(command)!r}.")


# ------------------------------------------------------------------------------- helpers


def _require(room: Room, actor: Actor, action: Action, sentence: str) -> None:
    if not may(role_of(room, actor.participant, actor.role), action):
        raise Forbidden(sentence)


def _hands(room: Room) -> HandsChanged:
    return HandsChanged(hands=room.hands, total=len(room.hands))


def _with_member(room: Room, member: StageMember) -> Outcome:
    stage = [member if m.participant == member.participant else m for m in room.stage]
    after = msgspec.structs.replace(room, stage=stage)
    return after, [StageChanged(stage)]


def _with_hand(room: Room, hand: Hand) -> Room:
    hands = [hand if h.participant == hand.participant else h for h in room.hands]
    return msgspec.structs.replace(room, hands=hands)


def _without_hand(room: Room, participant: str) -> Room:
    hands = [h for h in room.hands if h.participant != participant]
    return msgspec.structs.replace(room, hands=hands)


def _without_member(room: Room, participant: str) -> Room:
    stage = [m for m in room.stage if m.participant != participant]
    return msgspec.structs.replace(room, stage=stage)


def _seat(room: Room, participant: str, name: str, role: Role, speaks: str) -> Room:
    """Onto the stage, hand down. Raises StageFull."""
    _check_seat(room)
    member = StageMember(participant, name, role.value, speaks)
    room = _without_hand(room, participant)
    return msgspec.structs.replace(room, stage=[*room.stage, member])


def _check_seat(room: Room) -> None:
    if len(room.stage) >= room.stage_limit:
        raise StageFull(f"The stage is full: {room.stage_limit} people may be on it.")


def _speaks(room: Room, actor: Actor) -> str:
    return actor.speaks or room.languages[0]


# ------------------------------------------------------------------------------ commands


def _raise_hand(room: Room, actor: Actor, command: RaiseHand, now: float) -> Outcome:
    if member_of(room, actor.participant):
        raise Conflict("You are on stage already.")
    _require(room, actor, Action.RAISE_HAND, "A host needs no hand: invite yourself.")
    hand = hand_of(room, actor.participant)
    if hand:
        if command.speaks is None or command.speaks == hand.speaks:
            return room, []
        after = _with_hand(room, msgspec.structs.replace(hand, speaks=command.speaks))
        return after, [_hands(after)]
    if len(room.hands) >= room.hands_limit:
        raise TooManyRequests(
            f"{room.hands_limit} hands are up already; try again when some have been answered.",
            retry_after_s=10,
        )
    speaks = command.speaks or _speaks(room, actor)
    hand = Hand(actor.participant, actor.name, speaks, clock_ms(room, now))
    after = msgspec.structs.replace(room, hands=[*room.hands, hand])
    return after, [_hands(after)]


def _lower_hand(room: Room, actor: Actor, command: LowerHand) -> Outcome:
    target = command.participant or actor.participant
    if target != actor.participant:
        _require(room, actor, Action.LOWER_HANDS, "Only hosts may lower the hands of others.")
    if not hand_of(room, target):
        return room, []
    after = _without_hand(room, target)
    return after, [_hands(after)]


def _invite(room: Room, actor: Actor, command: Invite) -> Outcome:
    _require(room, actor, Action.INVITE, "Only hosts may invite people onto the stage.")
    target = command.participant
    if member_of(room, target):
        return room, []
    if target == actor.participant:
        role = role_of(room, target, actor.role)
        after = _seat(room, target, actor.name, role, _speaks(room, actor))
        return after, [StageChanged(after.stage)]
    hand = hand_of(room, target)
    if hand is None:
        raise Conflict("This person's hand is not up.")
    _check_seat(room)
    told = Invited(target, hand.name)
    if hand.invited:
        return room, [told]  # tell them again: they may have missed it
    after = _with_hand(room, msgspec.structs.replace(hand, invited=True))
    return after, [told, _hands(after)]


def _answer(room: Room, actor: Actor, command: AnswerInvitation) -> Outcome:
    hand = hand_of(room, actor.participant)
    if hand is None or not hand.invited:
        if not command.accept or member_of(room, actor.participant):
            return room, []
        raise Conflict("You are not invited, or the invitation was withdrawn.")
    told = InvitationAnswered(actor.participant, hand.name, command.accept)
    if not command.accept:
        after = _without_hand(room, actor.participant)
        return after, [told, _hands(after)]
    role = role_of(room, actor.participant, actor.role)
    role = Role.SPEAKER if role is Role.LISTENER else role
    after = _seat(room, actor.participant, hand.name, role, hand.speaks)
    return after, [told, StageChanged(after.stage), _hands(after)]


def _leave_stage(room: Room, actor: Actor, command: LeaveStage) -> Outcome:
    target = command.participant or actor.participant
    if target != actor.participant:
        _require(
            room, actor, Action.MOVE_TO_AUDIENCE, "Only hosts may move people to the audience."
        )
        if target in room.hosts:
            raise Forbidden("The host cannot be moved to the audience.")
    if not member_of(room, target):
        return room, []
    after = _without_member(room, target)
    return after, [StageChanged(after.stage)]


def _set_muted(room: Room, actor: Actor, command: SetMuted) -> Outcome:
    target = command.participant or actor.participant
    if target == actor.participant:
        _require(room, actor, Action.MUTE_SELF, "Only people on stage have a microphone.")
    else:
        _require(room, actor, Action.MUTE_OTHERS, "Only hosts may mute others.")
        if not command.muted:
            raise Forbidden("Nobody can unmute somebody else; they have to do it themself.")
    member = member_of(room, target)
    if member is None:
        raise ParticipantNotFound("This person is not on stage.")
    if member.muted == command.muted:
        return room, []
    return _with_member(room, msgspec.structs.replace(member, muted=command.muted))


def _remove(room: Room, actor: Actor, command: Remove) -> Outcome:
    _require(room, actor, Action.REMOVE, "Only hosts may remove people.")
    target = command.participant
    if target in room.hosts:
        raise Forbidden("The host cannot be removed.")
    if target == actor.participant:
        raise Forbidden("You cannot remove yourself; leave the room instead.")
    if target in room.removed:
        return room, []
    member, hand = member_of(room, target), hand_of(room, target)
    known = member or hand
    after = _without_hand(_without_member(room, target), target)
    removed = [*room.removed, target][-room.removed_limit :]
    after = msgspec.structs.replace(after, removed=removed)
    events: list[Event] = [Removed(target, known.name if known else "", command.reason)]
    if member:
        events.append(StageChanged(after.stage))
    if hand:
        events.append(_hands(after))
    return after, events


def _set_speaks(room: Room, actor: Actor, command: SetSpeaks) -> Outcome:
    member, hand = member_of(room, actor.participant), hand_of(room, actor.participant)
    if member and member.speaks != command.speaks:
        return _with_member(room, msgspec.structs.replace(member, speaks=command.speaks))
    if hand and hand.speaks != command.speaks:
        after = _with_hand(room, msgspec.structs.replace(hand, speaks=command.speaks))
        return after, [_hands(after)]
    return room, []
