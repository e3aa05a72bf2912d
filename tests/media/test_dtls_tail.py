"""The end of a DTLS session, both sides played by the module's own key schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.dtls_tail import Tail, records, server_tail

SUITES = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]
MASTER, CLIENT, SERVER = bytes(48), b"c" * 32, b"s" * 32


def both_ends(cipher: str) -> tuple[Tail, Tail]:
    """The server's tail, and one that plays the client: the same keys the other way round."""
    server = server_tail(cipher, MASTER, CLIENT, SERVER, b"flight")
    assert server is not None
    client = Tail(
        server.suite,
        server.write_key,
        server.write_iv,
        server.read_key,
        server.read_iv,
        b"",
    )
    return server, client


@pytest.mark.parametrize("cipher", SUITES)
def test_a_close_notify_is_understood_and_a_changed_one_is_not(cipher: str) -> None:
    server, client = both_ends(cipher)
    goodbye = client.close_notify()
    assert server.ends(goodbye)
    assert server.ends(b"\x17\xfe\xfd" + bytes(8) + b"\x00\x01x" + goodbye)
    assert not server.ends(server.close_notify())
    for at in range(len(goodbye)):
        changed = goodbye[:at] + bytes([goodbye[at] ^ 1]) + goodbye[at + 1 :]
        assert not server.ends(changed)
    assert not server.ends(goodbye[:-1])


def test_a_plain_alert_ends_nothing() -> None:
    server, _ = both_ends(SUITES[0])
    assert not server.ends(b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28")


def test_a_client_still_in_the_handshake_wants_the_flight() -> None:
    server, client = both_ends(SUITES[0])
    assert server.wants_flight(b"\x16\xfe\xfd" + bytes(8) + b"\x00\x01x")
    assert not server.wants_flight(client.close_notify())


def test_unknown_suites_and_missing_secrets_have_no_tail() -> None:
    assert server_tail("ECDHE-ECDSA-AES128-SHA", MASTER, CLIENT, SERVER, b"") is None
    assert server_tail(None, MASTER, CLIENT, SERVER, b"") is None
    assert server_tail(SUITES[0], None, CLIENT, SERVER, b"") is None


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(data: bytes) -> None:
    server, _ = both_ends(SUITES[len(data) % 2])
    server.wants_flight(data)
    assert not server.ends(data)
    assert sum(len(record) for _, record in records(data)) <= len(data)
