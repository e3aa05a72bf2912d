"""Tokens: what they say, and what is refused."""

import base64
import json
import time

import jwt
import pytest

from chatroom.errors import Forbidden, Unauthorized
from chatroom.roles import Role
from signaling.tokens import MAX_TOKEN, Claims, Tokens, bearer, key_id

KEY = b"k" * 32
CLAIMS = Claims("room", "someone", "Ana", Role.LISTENER, "pt")


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(KEY, lifetime_s=60)


def test_what_was_issued_is_read(tokens: Tokens) -> None:
    assert tokens.read(tokens.issue(CLAIMS, time.time()), room="room") == CLAIMS


def test_another_room(tokens: Tokens) -> None:
    with pytest.raises(Forbidden):
        tokens.read(tokens.issue(CLAIMS, time.time()), room="other")


def test_expired(tokens: Tokens) -> None:
    with pytest.raises(Unauthorized, match="expired"):
        tokens.read(tokens.issue(CLAIMS, time.time() - 61))


def test_a_key_on_its_way_out_is_still_good() -> None:
    old = Tokens(KEY, lifetime_s=60).issue(CLAIMS, time.time())
    both = Tokens(b"n" * 32, KEY, lifetime_s=60)
    assert both.read(old) == CLAIMS
    assert jwt.get_unverified_header(both.issue(CLAIMS, time.time()))["kid"] == key_id(b"n" * 32)


def forged(header: dict[str, str], payload: dict[str, object], key: bytes | None = KEY) -> str:
    algorithm = header.pop("alg", "HS256")
    if algorithm == "none":
        head = base64.urlsafe_b64encode(json.dumps({"alg": "none", **header}).encode()).rstrip(b"=")
        body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")
        return f"{head.decode()}.{body.decode()}."
    return jwt.encode(payload, key, algorithm=algorithm, headers=header)


GOOD: dict[str, object] = {
    "room": "room",
    "sub": "someone",
    "name": "Ana",
    "role": "host",
    "iat": 0,
    "exp": 4_000_000_000,
}
KID = {"kid": key_id(KEY)}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é.é.é",
        "x" * (MAX_TOKEN + 1),
        forged({"alg": "none", **KID}, GOOD),
        forged(dict(KID), GOOD, b"another key, 32 bytes in length!!"),
        forged({"kid": "00000000"}, GOOD),
        forged({}, GOOD),
        forged({"alg": "HS512", **KID}, GOOD, KEY * 2),
        forged(dict(KID), {k: v for k, v in GOOD.items() if k != "exp"}),
        forged(dict(KID), {k: v for k, v in GOOD.items() if k != "sub"}),
        forged(dict(KID), {**GOOD, "role": "emperor"}),
        forged(dict(KID), {**GOOD, "room": 7}),
        forged(dict(KID), {**GOOD, "name": "n" * 41}),
    ],
)
def test_forged_or_malformed(tokens: Tokens, token: str) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(token)


def test_a_changed_payload(tokens: Tokens) -> None:
    head, _, signature = tokens.issue(CLAIMS, time.time()).split(".")
    body = base64.urlsafe_b64encode(json.dumps(GOOD).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthorized, match="signature"):
        tokens.read(f"{head}.{body}.{signature}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_no_bearer(header: str | None) -> None:
    with pytest.raises(Unauthorized):
        bearer(header)


def test_bearer() -> None:
    assert bearer("bearer abc") == "abc"
