"""Connectivity checks, against aioice's reading and writing of them."""

from __future__ import annotations

import contextlib
import struct

import aioice.stun as theirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import stun

PASSWORD = "p" * 24


def check(**extra: object) -> theirs.Message:
    message = theirs.Message(theirs.Method.BINDING, theirs.Class.REQUEST)
    message.attributes |= {"USERNAME": "local:remote", "PRIORITY": 1, **extra}
    message.add_message_integrity(PASSWORD.encode())
    return message


def test_a_check_is_read() -> None:
    message = check(**{"ICE-CONTROLLING": 5, "USE-CANDIDATE": None, "SOFTWARE": "odd length"})
    request = stun.parse(bytes(message))
    assert request.type == stun.BINDING_REQUEST
    assert request.transaction == message.transaction_id
    assert request.local_ufrag == "local"
    assert request.use_candidate
    assert not request.controlled
    assert request.unknown == ()
    assert request.authentic(PASSWORD)
    assert not request.authentic("q" * 24)


def test_what_follows_the_integrity_is_not_believed() -> None:
    data = bytes(check())[:-8] + struct.pack("!HH", 0x25, 0)
    data = data[:2] + struct.pack("!H", len(data) - 20) + data[4:]
    request = stun.parse(data)
    assert request.authentic(PASSWORD)
    assert not request.use_candidate


def test_attributes_that_must_be_understood_are_told() -> None:
    message = bytes(theirs.Message(theirs.Method.BINDING, theirs.Class.REQUEST))
    unknown = struct.pack("!HHHH", 0x7FF0, 0, 0xFF00, 0)
    request = stun.parse(message[:2] + struct.pack("!H", len(unknown)) + message[4:] + unknown)
    assert request.unknown == (0x7FF0,)
    assert not request.authentic(PASSWORD)
    answer = theirs.parse_message(stun.error(request.transaction, 420, PASSWORD, request.unknown))
    assert answer.attributes["ERROR-CODE"] == (420, "Unknown Attribute")


@given(
    host=st.ip_addresses().map(str),
    port=st.integers(1, 65535),
    transaction=st.binary(min_size=12, max_size=12),
)
def test_answers_are_read_by_aioice(host: str, port: int, transaction: bytes) -> None:
    answer = theirs.parse_message(stun.success(transaction, host, port, PASSWORD))
    assert answer.check_message_integrity(PASSWORD.encode())
    assert answer.message_class == theirs.Class.RESPONSE
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == (host, port)
    conflict = theirs.parse_message(stun.error(transaction, 487, PASSWORD))
    assert conflict.check_message_integrity(PASSWORD.encode())
    assert conflict.attributes["ERROR-CODE"] == (487, "Role Conflict")


@given(st.binary(max_size=120), st.integers(0, 150), st.integers(0, 255))
def test_any_bytes_are_a_message_or_malformed(data: bytes, at: int, byte: int) -> None:
    good = bytearray(bytes(check()))
    good[at % len(good)] = byte
    header = bytes(good[:2]) + struct.pack("!H", len(data)) + bytes(good[4:20])
    for candidate in (data, bytes(good), header + data):
        with contextlib.suppress(stun.StunMalformed):
            stun.parse(candidate).authentic(PASSWORD)


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_cut_message_is_malformed(cut: int) -> None:
    with pytest.raises(stun.StunMalformed):
        stun.parse(bytes(check())[:-cut])
