"""Tokens: what they say, and what is refused."""

import base64
import json
import time

import jwt
import msgspec
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


def test_what_was_issued_is_an_ordinary_jwt(tokens: Tokens) -> None:
    now = time.time()
    token = tokens.issue(msgspec.structs.replace(CLAIMS, name="Ána ✓"), now)
    header, payload = jwt.get_unverified_header(token), jwt.decode(token, KEY, ["HS256"])
    assert header == {"alg": "HS256", "typ": "JWT", "kid": key_id(KEY)}
    assert payload == {
        "room": "room",
        "sub": "someone",
        "name": "Ána ✓",
        "role": "listener",
        "speaks": "pt",
        "iat": int(now),
        "exp": int(now + 60),
    }


def test_a_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    token = Tokens(KEY, lifetime_s=60).issue(CLAIMS, time.time())
    other = Tokens(KEY, lifetime_s=60)
    assert other.read(token) == CLAIMS
    with monkeypatch.context() as without:
        without.delattr(jwt, "decode")
        assert other.read(token) == CLAIMS
        with pytest.raises(Forbidden):
            other.read(token, room="other")
    altered = token[:-2] + ("AA" if token[-2:] != "AA" else "BB")
    with pytest.raises(Unauthorized, match="signature"):
        other.read(altered)


def test_a_known_token_expires() -> None:
    now = time.time()
    clock = [now]
    tokens = Tokens(KEY, lifetime_s=60, clock=lambda: clock[0])
    # Issued long ago, so that PyJWT's own clock finds it expired as well.
    token = tokens.issue(CLAIMS, now - 3600)
    clock[0] = now - 3600 + 59
    assert tokens.read(token) == CLAIMS
    clock[0] = now - 3600 + 60
    with pytest.raises(Unauthorized, match="expired"):
        tokens.read(token)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signaling.tokens.MAX_KNOWN", 3)
    tokens = Tokens(KEY, lifetime_s=60)
    issued = [
        tokens.issue(msgspec.structs.replace(CLAIMS, sub=str(i)), time.time()) for i in range(5)
    ]
    assert len(tokens._known) == 3
    assert [tokens.read(token).sub for token in issued] == ["0", "1", "2", "3", "4"]


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
