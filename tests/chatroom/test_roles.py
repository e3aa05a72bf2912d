"""The table of roles: who is above whom, and what nobody below may do."""

from chatroom.roles import ALLOWED, ON_STAGE, Action, Role, may


def test_every_role_is_in_the_table_and_hears() -> None:
    assert set(ALLOWED) == set(Role)
    assert all(may(role, Action.LISTEN) and may(role, Action.READ_CAPTIONS) for role in Role)


def test_each_stage_role_may_more_than_the_one_below() -> None:
    assert ALLOWED[Role.SPEAKER] < ALLOWED[Role.COHOST] < ALLOWED[Role.HOST]
    assert {role for role in Role if may(role, Action.PUBLISH)} == ON_STAGE


def test_only_the_host_ends_a_room_and_only_listeners_raise_hands() -> None:
    assert [role for role in Role if may(role, Action.END_ROOM)] == [Role.HOST]
    assert [role for role in Role if may(role, Action.RAISE_HAND)] == [Role.LISTENER]
