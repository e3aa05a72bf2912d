"""The way out of a WebSocket, over a transport that only counts."""

from typing import cast
from unittest.mock import Mock

from chatroom.protocol import Caption, CaptionPosted, Pong
from chatroom.roles import Role
from signaling.connection import Connection, SocketStats
from signaling.tokens import Claims
from signaling.views import Fanout


def opened(transport: Mock, buffer_bytes: int) -> Connection:
    waiting: list[int] = []
    transport.is_closing.return_value = False
    transport.write.side_effect = lambda frame: waiting.append(len(frame))
    transport.get_write_buffer_size.side_effect = lambda: sum(waiting)
    claims = Claims("r", "p", "P", Role.LISTENER)
    return Connection(
        Mock(), transport, claims, None, buffer_bytes=buffer_bytes, stats=SocketStats()
    )


def said(number: int) -> CaptionPosted:
    return CaptionPosted(Caption(f"u{number}", "p", "P", 1, True, "en", "x" * 500, 0, 1))


def test_what_was_missed_is_never_too_much() -> None:
    transport = Mock()
    connection = opened(transport, 1000)
    connection.catch_up([(f"{number}-0", said(number)) for number in range(1, 9)], "0-0")
    assert transport.write.call_count == 8
    assert not transport.abort.called
    # What comes after it, and is not read either, is.
    for number in range(9, 12):
        connection.deliver(Fanout(said(number), f"{number}-0"), f"{number}-0")
    assert transport.abort.called


def test_a_reply_to_who_does_not_read_cuts_them_off() -> None:
    transport = Mock()
    connection = opened(transport, 60)
    connection.catch_up([], "0-0")
    connection.reply(Pong(1.0, 1))
    assert cast(int, transport.get_write_buffer_size()) > 0
    connection.reply(Pong(2.0, 2))
    assert transport.abort.called
