"""What is left to do in a DTLS 1.2 session once the SRTP keys are out of it. Pure.

An OpenSSL connection costs 72 KB, and after the handshake a peer that sends no data channels
has three things to say through it: the other side's close_notify must be understood, our own be
sent, and our last flight be sent again when it was lost (RFC 6347, section 4.2.4). The two
traffic keys and the flight are enough for that.
"""

from __future__ import annotations

import hmac
import os
import struct
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

CHANGE_CIPHER, ALERT, HANDSHAKE = 20, 21, 22
RECORD_HEADER = 13

_VERSION = 0xFEFD
_CLOSE_NOTIFY = b"\x01\x00"
_FATAL = 2
# Far above any number that the handshake has used in its second epoch.
_OWN_SEQUENCE = 1 << 32


@dataclass(frozen=True, slots=True)
class _Suite:
    key: int
    iv: int
    explicit: int


_SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": _Suite(key=16, iv=4, explicit=8),
    "ECDHE-ECDSA-CHACHA20-POLY1305": _Suite(key=32, iv=12, explicit=0),
}


@dataclass(frozen=True, slots=True)
class Tail:
    """The server's end of one session."""

    suite: _Suite = field(repr=False)
    read_key: bytes = field(repr=False)
    read_iv: bytes = field(repr=False)
    write_key: bytes = field(repr=False)
    write_iv: bytes = field(repr=False)
    flight: bytes = field(repr=False)
    """Our ChangeCipherSpec and Finished, as they were sent."""

    def close_notify(self) -> bytes:
        """The record that ends the session; made once."""
        sequence = struct.pack("!HHI", 1, _OWN_SEQUENCE >> 32, _OWN_SEQUENCE & 0xFFFFFFFF)
        explicit = os.urandom(self.suite.explicit)
        nonce = _nonce(self.suite, self.write_iv, explicit, sequence)
        aad = sequence + struct.pack("!BHH", ALERT, _VERSION, len(_CLOSE_NOTIFY))
        sealed = explicit + _cipher(self.suite, self.write_key).encrypt(nonce, _CLOSE_NOTIFY, aad)
        return (
            struct.pack("!BH", ALERT, _VERSION) + sequence + struct.pack("!H", len(sealed)) + sealed
        )

    def ends(self, datagram: bytes) -> bool:
        """Whether an authentic close_notify or fatal alert is in the datagram."""
        return any(
            plain == _CLOSE_NOTIFY or plain[:1] == bytes([_FATAL])
            for kind, record in records(datagram)
            if kind == ALERT and (plain := self._open(record)) is not None
        )

    def wants_flight(self, datagram: bytes) -> bool:
        """Whether the client is still shaking hands, so that our last flight was lost."""
        return any(kind == HANDSHAKE for kind, _ in records(datagram))

    def _open(self, record: bytes) -> bytes | None:
        sequence, sealed = record[3:11], record[RECORD_HEADER:]
        length = len(sealed) - self.suite.explicit - 16
        if sequence[:2] != b"\x00\x01" or length < 1:
            return None
        explicit = sealed[: self.suite.explicit]
        nonce = _nonce(self.suite, self.read_iv, explicit, sequence)
        aad = sequence + record[:3] + struct.pack("!H", length)
        try:
            return _cipher(self.suite, self.read_key).decrypt(
                nonce, sealed[self.suite.explicit :], aad
            )
        except InvalidTag:
            return None


def server_tail(
    cipher: str | None,
    master: bytes | None,
    client_random: bytes | None,
    server_random: bytes | None,
    flight: bytes,
) -> Tail | None:
    """The tail of a DTLS 1.2 session from the server's point of view; None for a cipher suite
    (by OpenSSL's name) that it does not know, whose session must be kept as it is."""
    suite = _SUITES.get(cipher or "")
    if suite is None or not master or not client_random or not server_random:
        return None
    length = 2 * (suite.key + suite.iv)
    block = _prf(master, b"key expansion" + server_random + client_random, length)
    client_key, server_key = block[: suite.key], block[suite.key : 2 * suite.key]
    client_iv, server_iv = block[2 * suite.key : -suite.iv], block[-suite.iv :]
    return Tail(suite, client_key, client_iv, server_key, server_iv, flight)


def records(datagram: bytes) -> list[tuple[int, bytes]]:
    """The whole records in a datagram, with their content type."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + RECORD_HEADER <= len(datagram):
        end = at + RECORD_HEADER + int.from_bytes(datagram[at + 11 : at + 13], "big")
        if end > len(datagram):
            break
        found.append((datagram[at], datagram[at:end]))
        at = end
    return found


def _prf(secret: bytes, seed: bytes, length: int) -> bytes:
    """P_SHA256 of RFC 5246, section 5."""
    out, a = b"", seed
    while len(out) < length:
        a = hmac.digest(secret, a, "sha256")
        out += hmac.digest(secret, a + seed, "sha256")
    return out[:length]


def _nonce(suite: _Suite, iv: bytes, explicit: bytes, sequence: bytes) -> bytes:
    """RFC 5288 has it in the record, RFC 7905 makes it of the sequence number."""
    if suite.explicit:
        return iv + explicit
    return bytes(a ^ b for a, b in zip(iv, bytes(4) + sequence, strict=True))


def _cipher(suite: _Suite, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return AESGCM(key) if suite.explicit else ChaCha20Poly1305(key)
