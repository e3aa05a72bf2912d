"""The media half of the load generator: what it sends is right, what it counts is true."""

import asyncio
import os
import socket

import pytest
from aioice import stun

from media import rtp
from media.swarm import (
    Answer,
    HeardFrame,
    SwarmPort,
    TestSpeech,
    recognise,
    stun_answer,
    stun_check,
)

PASSWORD = b"a" * 22


def rtp_packet(sequence: int, ssrc: int = 7) -> bytes:
    return bytes([0x80, 111]) + sequence.to_bytes(2, "big") + bytes(4) + ssrc.to_bytes(4, "big")


def test_a_check_is_what_an_ice_agent_takes() -> None:
    transaction = os.urandom(12)
    data = stun_check("their:ours", PASSWORD, transaction, 5)
    message = stun.parse_message(data)
    assert message.check_message_integrity(PASSWORD)
    assert message.message_method == stun.Method.BINDING
    assert message.transaction_id == transaction
    assert message.attributes["USERNAME"] == "their:ours"
    assert message.attributes["ICE-CONTROLLING"] == 5
    assert "USE-CANDIDATE" in message.attributes


def test_an_answer_to_a_check_names_the_address() -> None:
    data = stun_answer(PASSWORD, bytes(12), ("127.0.0.9", 4242))
    message = stun.parse_message(data)
    assert message.check_message_integrity(PASSWORD)
    assert message.message_class == stun.Class.RESPONSE
    assert message.attributes["XOR-MAPPED-ADDRESS"] == ("127.0.0.9", 4242)


def test_answers_are_read() -> None:
    sdp = (
        "a=ice-ufrag:u\r\na=ice-pwd:p\r\na=candidate:1 1 udp 5 ::1 9 typ host\r\n"
        "a=candidate:2 1 UDP 4 127.0.0.1 4000 typ host\r\n"
    )
    assert Answer.parse(sdp) == Answer("u", "p", "127.0.0.1", 4000)
    with pytest.raises(ValueError, match="address"):
        Answer.parse("a=ice-ufrag:u\r\na=ice-pwd:p\r\n")


def test_the_test_sound_is_recognised_only_whole() -> None:
    speech = TestSpeech(3)
    speech.packet(20)
    frame = rtp.parse(speech.packet(20)).payload
    heard = recognise(frame)
    assert heard is not None
    assert (heard.speaker, heard.number) == (3, 1)
    assert recognise(frame[1:]) == heard  # as it comes out of a merged packet
    assert isinstance(heard, HeardFrame)
    for position in range(1, len(frame)):
        damaged = bytearray(frame)
        damaged[position] ^= 1
        assert recognise(bytes(damaged)) != heard
    assert recognise(frame[:-1]) is None
    assert recognise(b"") is None


async def test_packets_are_counted_by_listener_and_sequence_number() -> None:
    port = SwarmPort("127.4.0.1", 3)
    passed: list[tuple[int, int, bytes]] = []
    port.handlers[1] = lambda kind, at, data: passed.append((1, kind, data))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            def send(client: int, data: bytes) -> None:
                sender.sendto(data, (port.address_of(client), port.port))

            for sequence in (65534, 65535, 1, 0, 3, 3):  # 2 is lost, 0 late, 3 came twice
                send(0, rtp_packet(sequence))
            send(1, rtp_packet(10))
            send(1, b"\x16" + bytes(20))  # DTLS
            sender.sendto(rtp_packet(1), ("127.4.0.99", port.port))  # nobody
            async with asyncio.timeout(10):
                while (
                    port.totals()["packets"] < 7 or len(passed) < 1 or not port.totals()["unknown"]
                ):
                    await asyncio.sleep(0.01)
        counted = port.read(0)
        assert counted["packets"] == 5
        assert counted["lost"] == 1
        assert counted["duplicates"] == 1
        assert counted["reordered"] == 1
        assert port.read(1)["packets"] == 1
        assert passed == [(1, 1, b"\x16" + bytes(20))]
        assert port.totals()["unknown"] == 1
        port.reset()
        assert port.read(0)["packets"] == 0
    finally:
        port.close()


async def test_datagrams_leave_from_the_listeners_own_address() -> None:
    port = SwarmPort("127.4.1.1", 2)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(5)
            assert port.send(1, receiver.getsockname(), b"hello") == 0
            assert receiver.recvfrom(100) == (b"hello", ("127.4.1.2", port.port))
    finally:
        port.close()
