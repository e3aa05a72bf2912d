"""The page's types are those of the protocol."""

from __future__ import annotations

import msgspec
import msgspec.inspect
import pytest

from chatroom import protocol
from signaling import web_types


def test_the_declarations_in_the_tree_are_those_of_the_protocol() -> None:
    assert web_types.OUTPUT.read_text(encoding="utf-8") == web_types.declarations(), (
        "run: python -m signaling.web_types"
    )


def test_every_message_is_declared_under_its_wire_name() -> None:
    text = web_types.declarations()
    for struct in (*protocol.COMMANDS, *protocol.EVENTS, *protocol.REPLIES):
        assert f"export interface {struct.__name__} {{\n" in text
        assert f'  type: "{struct.__struct_config__.tag}";' in text


def test_what_the_page_sends_may_leave_out_defaults_and_what_it_gets_is_whole() -> None:
    text = web_types.declarations()
    assert "cursor?: string | null;" in text
    assert "translations: Record<string, string>;" in text


def test_a_kind_of_type_that_the_wire_does_not_use_is_an_error() -> None:
    with pytest.raises(TypeError):
        web_types.typescript(msgspec.inspect.type_info(bytes))
