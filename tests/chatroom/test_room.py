"""The rules of a room, one by one, and as a machine that is fed whatever commands there are."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from chatroom.errors import (
    BadMessage,
    ChatroomError,
    Conflict,
    Forbidden,
    ParticipantNotFound,
    RoomEnded,
    StageFull,
    TooManyRequests,
)
from chatroom.protocol import (
    AnswerInvitation,
    Command,
    EndRoom,
    Event,
    HandsChanged,
    Hello,
    InvitationAnswered,
    Invite,
    Invited,
    LeaveStage,
    LowerHand,
    Ping,
    RaiseHand,
    Remove,
    Removed,
    RoomDraft,
    RoomOver,
    SetCaptions,
    SetMuted,
    SetSpeaks,
    StageChanged,
)
from chatroom.roles import Role
from chatroom.room import (
    Actor,
    Room,
    admit,
    apply,
    clock_ms,
    connect,
    hand_of,
    info,
    member_of,
    new_room,
    role_of,
)
from chatroom.room_settings import RoomSettings

T0 = 1_700_000_000.0
HOST = Actor("host", "Hana", Role.HOST)
COHOST = Actor("co", "Cora", Role.COHOST)
ANN = Actor("ann", "Ann", speaks="zh")
BEN = Actor("ben", "Ben")


def room(**limits: int) -> Room:
    draft = RoomDraft("Tea", ["en", "zh"], "Be kind.", "Hana")
    return new_room("r", draft, "host", T0, RoomSettings(**limits))


def run(state: Room, *steps: tuple[Actor, Command]) -> tuple[Room, list[Event]]:
    """The room after the steps, and the last one's events."""
    events: list[Event] = []
    for actor, command in steps:
        state, events = apply(state, actor, command, T0 + 1.5)
    return state, events


def up(actor: Actor) -> list[tuple[Actor, Command]]:
    return [
        (actor, RaiseHand()),
        (HOST, Invite(actor.participant)),
        (actor, AnswerInvitation(True)),
    ]


def test_new_room_has_its_host_on_stage() -> None:
    subject = room()
    member = member_of(subject, "host")
    assert member is not None
    assert (member.name, member.role, member.speaks) == ("Hana", "host", "en")
    assert not member.muted
    assert not member.connected
    shown = info(subject, 7)
    assert (shown.title, shown.rules, shown.listeners) == ("Tea", "Be kind.", 7)
    assert not shown.ended


def test_room_survives_being_stored() -> None:
    subject, _ = run(room(), (ANN, RaiseHand()), *up(BEN), (HOST, Remove("x")))
    assert msgspec.convert(msgspec.to_builtins(subject), Room) == subject


def test_clock_starts_at_creation_and_never_runs_below() -> None:
    assert clock_ms(room(), T0 + 1.2345) == 1234
    assert clock_ms(room(), T0 - 5) == 0


def test_the_way_up() -> None:
    state, events = run(room(), (ANN, RaiseHand()))
    assert events == [HandsChanged(state.hands, 1)]
    assert state.hands[0].speaks == "zh"
    assert state.hands[0].raised_ms == 1500
    state, events = run(state, (HOST, Invite("ann")))
    assert events[0] == Invited("ann", "Ann")
    assert hand_of(state, "ann").invited  # type: ignore[union-attr]
    state, events = run(state, (ANN, AnswerInvitation(True)))
    assert events == [
        InvitationAnswered("ann", "Ann", True),
        StageChanged(state.stage),
        HandsChanged([], 0),
    ]
    assert role_of(state, "ann") is Role.SPEAKER
    assert member_of(state, "ann").speaks == "zh"  # type: ignore[union-attr]
    state, events = run(state, (ANN, LeaveStage()))
    assert events == [StageChanged(state.stage)]
    assert role_of(state, "ann", Role.SPEAKER) is Role.LISTENER


def test_declining_lowers_the_hand() -> None:
    state, events = run(
        room(), (ANN, RaiseHand()), (HOST, Invite("ann")), (ANN, AnswerInvitation(False))
    )
    assert events == [InvitationAnswered("ann", "Ann", False), HandsChanged([], 0)]
    assert role_of(state, "ann") is Role.LISTENER


def test_lowering_the_hand_withdraws_the_invitation() -> None:
    state, _ = run(room(), (ANN, RaiseHand()), (HOST, Invite("ann")), (HOST, LowerHand("ann")))
    with pytest.raises(Conflict):
        run(state, (ANN, AnswerInvitation(True)))


def test_raising_twice_keeps_the_place_and_may_change_the_language() -> None:
    state, _ = run(room(), (ANN, RaiseHand()), (BEN, RaiseHand()))
    again, events = run(state, (ANN, RaiseHand()))
    assert (again, events) == (state, [])
    again, events = run(state, (ANN, RaiseHand("es")))
    assert [h.participant for h in again.hands] == ["ann", "ben"]
    assert events == [HandsChanged(again.hands, 2)]
    assert again.hands[0].speaks == "es"


@pytest.mark.parametrize(
    ("before", "repeated"),
    [
        ([], (ANN, LowerHand())),
        ([], (ANN, LeaveStage())),
        ([], (ANN, AnswerInvitation(False))),
        (up(ANN), (ANN, AnswerInvitation(True))),
        (up(ANN), (HOST, Invite("ann"))),
        ([], (HOST, SetMuted(False))),
        ([(HOST, SetMuted(True))], (HOST, SetMuted(True))),
        ([(HOST, Remove("ann"))], (HOST, Remove("ann", "again"))),
        ([], (HOST, LeaveStage("ann"))),
        ([], (HOST, SetSpeaks("en"))),
        ([], (ANN, SetSpeaks("es"))),
    ],
)
def test_what_has_taken_effect_changes_nothing(
    before: list[tuple[Actor, Command]], repeated: tuple[Actor, Command]
) -> None:
    state, _ = run(room(), *before)
    assert run(state, repeated) == (state, [])


def test_inviting_again_tells_again_and_changes_nothing() -> None:
    state, _ = run(room(), (ANN, RaiseHand()), (HOST, Invite("ann")))
    assert run(state, (HOST, Invite("ann"))) == (state, [Invited("ann", "Ann")])


def test_only_raised_hands_can_be_invited() -> None:
    with pytest.raises(Conflict):
        run(room(), (HOST, Invite("ann")))


def test_nobody_goes_up_uninvited() -> None:
    with pytest.raises(Conflict):
        run(room(), (ANN, RaiseHand()), (ANN, AnswerInvitation(True)))


def test_who_is_on_stage_raises_no_hand() -> None:
    with pytest.raises(Conflict):
        run(room(), *up(ANN), (ANN, RaiseHand()))
    with pytest.raises(Conflict):
        run(room(), (HOST, RaiseHand()))


@pytest.mark.parametrize(
    "command",
    [
        Invite("ben"),
        LowerHand("ben"),
        LeaveStage("host"),
        SetMuted(True, "host"),
        SetMuted(True),
        Remove("ben"),
        EndRoom(),
    ],
)
def test_listeners_may_not(command: Command) -> None:
    with pytest.raises(Forbidden):
        run(room(), (BEN, RaiseHand()), (ANN, command))


def test_speakers_keep_nothing_but_themselves() -> None:
    state, _ = run(room(), *up(ANN), (BEN, RaiseHand()))
    for command in (Invite("ben"), SetMuted(True, "host"), Remove("ben"), EndRoom()):
        with pytest.raises(Forbidden):
            run(state, (ANN, command))
    muted, _ = run(state, (ANN, SetMuted(True)))
    assert member_of(muted, "ann").muted  # type: ignore[union-attr]


def test_cohosts_keep_the_room_but_cannot_end_it() -> None:
    state, _ = run(room(), (ANN, RaiseHand()), (COHOST, Invite("ann")))
    with pytest.raises(Forbidden):
        run(state, (COHOST, EndRoom()))
    with pytest.raises(Forbidden):
        run(state, (COHOST, Remove("host")))
    with pytest.raises(Forbidden):
        run(state, (COHOST, LeaveStage("host")))


def test_nobody_unmutes_somebody_else() -> None:
    state, events = run(room(), *up(ANN), (HOST, SetMuted(True, "ann")))
    assert events == [StageChanged(state.stage)]
    with pytest.raises(Forbidden):
        run(state, (HOST, SetMuted(False, "ann")))
    state, _ = run(state, (ANN, SetMuted(False)))
    assert not member_of(state, "ann").muted  # type: ignore[union-attr]


def test_muting_needs_somebody_on_stage() -> None:
    with pytest.raises(ParticipantNotFound):
        run(room(), (HOST, SetMuted(True, "ann")))
    with pytest.raises(ParticipantNotFound):
        run(room(), (HOST, LeaveStage()), (HOST, SetMuted(True)))


def test_stage_limit_holds_at_invitation_and_answer() -> None:
    state, _ = run(room(stage_limit=2), (ANN, RaiseHand()), (BEN, RaiseHand()))
    state, _ = run(state, (HOST, Invite("ann")), (HOST, Invite("ben")))
    state, _ = run(state, (ANN, AnswerInvitation(True)))
    with pytest.raises(StageFull, match="2 people"):
        run(state, (BEN, AnswerInvitation(True)))
    # The invitation stands: when there is a seat it can be taken.
    state, _ = run(state, (ANN, LeaveStage()), (BEN, AnswerInvitation(True)))
    assert [m.participant for m in state.stage] == ["host", "ben"]
    with pytest.raises(StageFull):
        run(state, (ANN, RaiseHand()), (HOST, Invite("ann")))


def test_keepers_return_to_the_stage_by_inviting_themselves() -> None:
    state, _ = run(room(), (HOST, LeaveStage()))
    assert state.stage == []
    assert role_of(state, "host") is Role.HOST
    state, events = run(state, (HOST, Invite("host")), (COHOST, Invite("co")))
    assert [(m.participant, m.role) for m in state.stage] == [("host", "host"), ("co", "cohost")]
    assert events == [StageChanged(state.stage)]
    with pytest.raises(Forbidden):
        run(room(), (HOST, LeaveStage()), (HOST, RaiseHand()))


def test_too_many_hands() -> None:
    with pytest.raises(TooManyRequests, match="1 hands") as caught:
        run(room(hands_limit=1), (ANN, RaiseHand()), (BEN, RaiseHand()))
    assert caught.value.retry_after_s


def test_the_removed_are_out_for_good() -> None:
    state, _ = run(room(), *up(ANN), (BEN, RaiseHand()))
    state, events = run(state, (HOST, Remove("ann", "rude")))
    assert events == [Removed("ann", "Ann", "rude"), StageChanged(state.stage)]
    state, events = run(state, (HOST, Remove("ben")))
    assert events == [Removed("ben", "Ben", ""), HandsChanged([], 0)]
    state, events = run(state, (HOST, Remove("unheard-of")))
    assert events == [Removed("unheard-of", "", "")]
    for command in (RaiseHand(), LowerHand(), LeaveStage(), SetSpeaks("en")):
        with pytest.raises(Forbidden, match="removed"):
            run(state, (ANN, command))
    with pytest.raises(Forbidden):
        admit(state, "ann")
    with pytest.raises(Forbidden):
        connect(state, "ann", True)
    admit(state, "carl")


def test_host_cannot_be_removed_nor_remove_themself() -> None:
    with pytest.raises(Forbidden):
        run(room(), (HOST, Remove("host")))
    with pytest.raises(Forbidden):
        run(room(), (COHOST, Remove("co")))


def test_removed_list_is_bounded() -> None:
    state, _ = run(room(removed_limit=2), *((HOST, Remove(f"p{i}")) for i in range(4)))
    assert state.removed == ["p2", "p3"]


def test_connect_follows_publishing_sessions() -> None:
    state, events = connect(room(), "host", True)
    assert member_of(state, "host").connected  # type: ignore[union-attr]
    assert events == [StageChanged(state.stage)]
    assert connect(state, "host", True) == (state, [])
    state, events = connect(state, "host", False)
    assert events == [StageChanged(state.stage)]
    assert connect(state, "ann", False) == (state, [])
    with pytest.raises(Forbidden):
        connect(state, "ann", True)


def test_leaving_the_stage_ends_the_connection() -> None:
    state, _ = run(room(), *up(ANN))
    state, _ = connect(state, "ann", True)
    state, _ = run(state, (HOST, LeaveStage("ann")), *up(ANN))
    assert not member_of(state, "ann").connected  # type: ignore[union-attr]


def test_set_speaks_on_stage_and_with_a_raised_hand() -> None:
    state, events = run(room(), *up(ANN), (ANN, SetSpeaks("es")))
    assert events == [StageChanged(state.stage)]
    assert member_of(state, "ann").speaks == "es"  # type: ignore[union-attr]
    state, events = run(room(), (BEN, RaiseHand()), (BEN, SetSpeaks("fr")))
    assert events == [HandsChanged(state.hands, 1)]
    assert state.hands[0].speaks == "fr"


def test_the_end() -> None:
    state, events = run(room(), *up(ANN), (BEN, RaiseHand()), (HOST, EndRoom()))
    assert events == [RoomOver("ended")]
    assert state.ended
    assert info(state, 0).ended
    assert state.stage == []
    assert state.hands == []
    for actor in (HOST, ANN):
        with pytest.raises(RoomEnded):
            run(state, (actor, EndRoom()))
    with pytest.raises(RoomEnded):
        connect(state, "host", True)
    assert connect(state, "host", False) == (state, [])


@pytest.mark.parametrize("command", [Hello("t"), Ping(), SetCaptions("en")])
def test_connections_own_commands_are_not_the_rooms(command: Command) -> None:
    with pytest.raises(BadMessage, match="takes no command"):
        run(room(), (ANN, command))


# --------------------------------------------------------------------------- any commands

ids = st.sampled_from(["host", "co", "ann", "ben", "eve"])
ACTORS = {a.participant: a for a in (HOST, COHOST, ANN, BEN, Actor("eve", "Eve"))}
maybe = st.none() | ids
languages = st.sampled_from(["en", "zh"])
commands = st.one_of(
    st.builds(RaiseHand, st.none() | languages),
    st.builds(LowerHand, maybe),
    st.builds(Invite, ids),
    st.builds(AnswerInvitation, st.booleans()),
    st.builds(LeaveStage, maybe),
    st.builds(SetMuted, st.booleans(), maybe),
    st.builds(SetSpeaks, languages),
)


class AnyCommands(RuleBasedStateMachine):
    """Whoever sends whatever: these hold."""

    @initialize(stage=st.integers(1, 3), hands=st.integers(1, 3))
    def start(self, stage: int, hands: int) -> None:
        self.room = room(stage_limit=stage, hands_limit=hands, removed_limit=2)

    def step(self, who: str, command: Command) -> None:
        before, snapshot = self.room, msgspec.msgpack.encode(self.room)
        try:
            after, events = apply(before, ACTORS[who], command, T0)
        except ChatroomError:
            after, events = before, []
        assert msgspec.msgpack.encode(before) == snapshot, "the old room was changed"
        if after.stage != before.stage and not after.ended:
            assert StageChanged(after.stage) in events
        if after.hands != before.hands and not after.ended:
            assert HandsChanged(after.hands, len(after.hands)) in events
        for member in before.stage:
            now = member_of(after, member.participant)
            if member.muted and now is not None and not now.muted:
                assert who == member.participant, "unmuted by somebody else"
        if not before.ended and who in before.removed:
            assert after == before
        self.room = after

    @rule(who=ids, command=commands)
    def command(self, who: str, command: Command) -> None:
        self.step(who, command)

    @rule(who=ids)
    def way_up(self, who: str) -> None:
        self.step(who, RaiseHand())
        self.step("host", Invite(who))
        self.step(who, AnswerInvitation(True))

    @rule(who=ids, whom=ids)
    def remove(self, who: str, whom: str) -> None:
        self.step(who, Remove(whom))

    @rule(who=ids, connected=st.booleans())
    def connect(self, who: str, connected: bool) -> None:
        try:
            self.room, _ = connect(self.room, who, connected)
        except Forbidden:
            assert connected
            assert member_of(self.room, who) is None

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "room"):
            return
        stage = [m.participant for m in self.room.stage]
        hands = [h.participant for h in self.room.hands]
        assert len(stage) <= self.room.stage_limit
        assert len(hands) <= self.room.hands_limit
        assert len(self.room.removed) <= self.room.removed_limit
        assert len(set(stage)) == len(stage)
        assert len(set(hands)) == len(hands)
        assert not set(stage) & set(hands), "on stage with a hand up"
        assert not set(self.room.removed) & {*stage, *hands}
        assert "host" not in self.room.removed
        assert role_of(self.room, "host") is Role.HOST


AnyCommands.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_any_commands = AnyCommands.TestCase
