"""Connectivity checks on the wire (RFC 8489, RFC 8445): parse a request, build its answer. Pure.

Only what an ICE-lite server needs: it receives Binding requests and sends success and error
responses. Everything here takes and returns whole datagrams.
"""

from __future__ import annotations

import hmac
import ipaddress
import struct
import zlib
from dataclasses import dataclass

HEADER_BYTES = 20
COOKIE = 0x2112A442
_COOKIE_BYTES = COOKIE.to_bytes(4, "big")
_FINGERPRINT_XOR = 0x5354554E

BINDING_REQUEST = 0x0001
BINDING_INDICATION = 0x0011
BINDING_SUCCESS = 0x0101
BINDING_ERROR = 0x0111

_USERNAME = 0x0006
_MESSAGE_INTEGRITY = 0x0008
_ERROR_CODE = 0x0009
_UNKNOWN_ATTRIBUTES = 0x000A
_XOR_MAPPED_ADDRESS = 0x0020
_PRIORITY = 0x0024
_USE_CANDIDATE = 0x0025
_FINGERPRINT = 0x8028
_ICE_CONTROLLED = 0x8029

_UNDERSTOOD = frozenset(
    {_USERNAME, _MESSAGE_INTEGRITY, _PRIORITY, _USE_CANDIDATE, _XOR_MAPPED_ADDRESS}
)
# Attributes that may stand in a request of an older or richer client and change nothing here
# (MAPPED-ADDRESS, REALM, NONCE); comprehension-required by their number, so named.
_HARMLESS = frozenset({0x0001, 0x0014, 0x0015})

_REASONS = {
    400: "Bad Request",
    420: "Unknown Attribute",
    487: "Role Conflict",
}


class StunMalformed(ValueError):
    """The bytes are no STUN message that may be answered."""


@dataclass(frozen=True, slots=True)
class Request:
    """One STUN message as received, attributes that matter here taken out."""

    type: int
    """Method and class, for example `BINDING_REQUEST`."""
    transaction: bytes
    """12 bytes."""
    username: str
    """`local:remote` from the receiver's point of view; empty when absent."""
    use_candidate: bool
    controlled: bool
    """The sender says that it is controlled, which it must not be towards a lite agent."""
    integrity: bytes | None
    """The HMAC-SHA1 that it carries, or None."""
    signed: bytes
    """What the integrity covers, with the length field as it was when signed."""
    unknown: tuple[int, ...]
    """Comprehension-required attributes that are not understood (answer: 420)."""

    @property
    def local_ufrag(self) -> str:
        """The receiver's part of the username."""
        return self.username.partition(":")[0]

    def authentic(self, password: str) -> bool:
        """Whether MESSAGE-INTEGRITY is there and made with `password`; in constant time."""
        if self.integrity is None:
            return False
        return hmac.compare_digest(self.integrity, _hmac(self.signed, password))


def parse(data: bytes) -> Request:
    """Read one datagram. Raises StunMalformed and nothing else.

    Attributes after MESSAGE-INTEGRITY are ignored, except FINGERPRINT, which must be right
    where it is present (RFC 8489, sections 14.5 and 14.7).
    """
    if len(data) < HEADER_BYTES:
        raise StunMalformed("shorter than a STUN header")
    kind, length = struct.unpack_from("!HH", data)
    if kind & 0xC000 or data[4:8] != _COOKIE_BYTES:
        raise StunMalformed("not a STUN header")
    if length % 4 or HEADER_BYTES + length != len(data):
        raise StunMalformed("the length field does not match the datagram")
    username = ""
    use_candidate = controlled = False
    integrity: bytes | None = None
    signed = b""
    unknown: list[int] = []
    at = HEADER_BYTES
    while at < len(data):
        attribute, size = struct.unpack_from("!HH", data, at)
        end = at + 4 + size
        if end > len(data):
            raise StunMalformed("an attribute reaches over the end")
        value = data[at + 4 : end]
        if attribute == _FINGERPRINT:
            if size != 4 or int.from_bytes(value, "big") != _fingerprint(data[:at]):
                raise StunMalformed("the fingerprint is wrong")
        elif integrity is not None:
            pass
        elif attribute == _MESSAGE_INTEGRITY:
            if size != 20:
                raise StunMalformed("MESSAGE-INTEGRITY is not 20 bytes")
            integrity = value
            signed = _with_length(data[:at], at - HEADER_BYTES + 24)
        elif attribute == _USERNAME:
            try:
                username = value.decode()
            except UnicodeDecodeError:
                raise StunMalformed("the username is not UTF-8") from None
        elif attribute == _USE_CANDIDATE:
            use_candidate = True
        elif attribute == _ICE_CONTROLLED:
            controlled = True
        elif attribute < 0x8000 and attribute not in _UNDERSTOOD | _HARMLESS:
            unknown.append(attribute)
        at = end + (-size % 4)
    return Request(
        type=kind,
        transaction=data[8:HEADER_BYTES],
        username=username,
        use_candidate=use_candidate,
        controlled=controlled,
        integrity=integrity,
        signed=signed,
        unknown=tuple(unknown),
    )


def success(transaction: bytes, host: str, port: int, password: str) -> bytes:
    """A Binding success response telling the sender the address that it was seen at."""
    packed = ipaddress.ip_address(host).packed
    pad = _COOKIE_BYTES + transaction
    value = struct.pack("!BBH", 0, 1 if len(packed) == 4 else 2, port ^ (COOKIE >> 16))
    value += bytes(a ^ b for a, b in zip(packed, pad, strict=False))
    return _message(BINDING_SUCCESS, transaction, [(_XOR_MAPPED_ADDRESS, value)], password)


def error(transaction: bytes, code: int, password: str, unknown: tuple[int, ...] = ()) -> bytes:
    """A Binding error response; `unknown` are the attribute types of a 420."""
    value = struct.pack("!HBB", 0, code // 100, code % 100) + _REASONS[code].encode()
    attributes = [(_ERROR_CODE, value)]
    if unknown:
        attributes.append((_UNKNOWN_ATTRIBUTES, struct.pack(f"!{len(unknown)}H", *unknown)))
    return _message(BINDING_ERROR, transaction, attributes, password)


def _message(
    kind: int, transaction: bytes, attributes: list[tuple[int, bytes]], password: str
) -> bytes:
    body = b"".join(
        struct.pack("!HH", attribute, len(value)) + value + bytes(-len(value) % 4)
        for attribute, value in attributes
    )
    data = struct.pack("!HH", kind, len(body) + 24) + _COOKIE_BYTES + transaction + body
    data += struct.pack("!HH", _MESSAGE_INTEGRITY, 20) + _hmac(data, password)
    return (
        _with_length(data, len(data) - HEADER_BYTES + 8)
        + struct.pack("!HH", _FINGERPRINT, 4)
        + _fingerprint(data).to_bytes(4, "big")
    )


def _hmac(signed: bytes, password: str) -> bytes:
    return hmac.digest(password.encode(), signed, "sha1")


def _fingerprint(before: bytes) -> int:
    covered = _with_length(before, len(before) - HEADER_BYTES + 8)
    return zlib.crc32(covered) ^ _FINGERPRINT_XOR


def _with_length(data: bytes, length: int) -> bytes:
    return data[:2] + length.to_bytes(2, "big") + data[4:]
