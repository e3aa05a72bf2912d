"""The wire of the browser: every message has its type, and bad input a sentence."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatroom.errors import BadMessage, ChatroomError, TooLarge
from chatroom.protocol import (
    COMMANDS,
    EVENTS,
    MAX_MESSAGE_BYTES,
    REPLIES,
    AnswerInvitation,
    Command,
    EndRoom,
    Envelope,
    Hello,
    Invite,
    LeaveStage,
    LowerHand,
    Ping,
    Presence,
    RaiseHand,
    Remove,
    SetCaptions,
    SetMuted,
    SetNews,
    SetSpeaks,
    decode_command,
    encode_json,
    type_of,
)


def test_types_are_unique() -> None:
    names = [kind.__struct_config__.tag for kind in (*COMMANDS, *EVENTS, *REPLIES)]
    assert len(set(names)) == len(names)


EXAMPLES: list[Command] = [
    Hello("token", "zh-Hant", "12-0"),
    SetCaptions(None),
    SetNews(True),
    RaiseHand("en"),
    LowerHand("a"),
    Invite("a"),
    AnswerInvitation(False),
    LeaveStage(),
    SetMuted(True, "a"),
    Remove("a", "rude"),
    SetSpeaks("pt-BR"),
    EndRoom(),
    Ping(1.5),
]


@pytest.mark.parametrize("command", EXAMPLES, ids=type_of)
def test_every_command_comes_back(command: Command) -> None:
    assert decode_command(encode_json(command)) == command
    assert decode_command(encode_json(command).decode()) == command


def test_no_command_is_forgotten_above() -> None:
    assert {type(command) for command in EXAMPLES} == set(COMMANDS)


def test_type_names_the_message() -> None:
    assert type_of(Invite("a")) == "invite"
    assert json.loads(encode_json(SetMuted(True))) == {
        "type": "set_muted",
        "muted": True,
        "participant": None,
    }
    assert decode_command('{"type":"raise_hand"}') == RaiseHand()


def test_envelope_carries_the_cursor() -> None:
    data = encode_json(Envelope(Presence(2), "1-0"))
    assert msgspec.json.decode(data, type=Envelope) == Envelope(Presence(2), "1-0")


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"type":"nothing"}',
        '{"type":"stage","stage":[]}',
        '{"type":"invite"}',
        '{"type":"invite","participant":""}',
        '{"type":"invite","participant":5}',
        '{"type":"invite","participant":"a","more":1}',
        '{"type":"set_speaks","speaks":"English"}',
        '{"type":"hello","token":"t","cursor":"latest"}',
        b"\xff\xfe",
        b'{"type":"remove","participant":"\xff"}',
        '{"type":"remove","participant":"\ud800"}',
        "[" * 10_000,
    ],
)
def test_bad_commands(data: str | bytes) -> None:
    with pytest.raises(BadMessage):
        decode_command(data)


def test_too_large() -> None:
    with pytest.raises(TooLarge, match="16384 bytes"):
        decode_command(encode_json(Hello("t" * MAX_MESSAGE_BYTES)))


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_raises_documented_errors_only(data: bytes | str) -> None:
    with pytest.raises(ChatroomError):
        decode_command(data)
