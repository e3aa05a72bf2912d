"""Participants' tokens: signed JWTs (RFC 7519, HS256) that say who somebody is in one room.

The role in a token is the role at issue; what somebody may do now comes from the room's state.
Every token names its key (`kid`), so that a new key can be put in use while tokens of the old
one are still good.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import jwt
import msgspec

from chatroom.errors import Forbidden, Unauthorized
from chatroom.protocol import MAX_NAME
from chatroom.roles import Role

ALGORITHM = "HS256"
MAX_TOKEN = 4096
"""Longest token that is looked at, in characters."""


class Claims(msgspec.Struct, frozen=True):
    """What a token says: room and participant ids, name, role at issue, declared language."""

    room: str
    sub: str
    name: str
    role: Role
    speaks: str | None = None

    @property
    def participant(self) -> str:
        return self.sub


def key_id(secret: bytes) -> str:
    """The public name of a key: 8 hex digits of its SHA-256."""
    return hashlib.sha256(b"chatroom kid" + secret).hexdigest()[:8]


class Tokens:
    """Issues tokens with the first key, accepts those of every key given."""

    def __init__(self, *secrets: bytes, lifetime_s: float) -> None:
        if not secrets:
            raise ValueError("At least one key is needed.")
        self._keys: Mapping[str, bytes] = {key_id(secret): secret for secret in secrets}
        self._current = key_id(secrets[0])
        self._lifetime_s = lifetime_s

    def issue(self, claims: Claims, now: float) -> str:
        """A token good for the lifetime from `now` (unix seconds)."""
        payload = {
            "room": claims.room,
            "sub": claims.sub,
            "name": claims.name,
            "role": claims.role.value,
            "iat": int(now),
            "exp": int(now + self._lifetime_s),
        }
        if claims.speaks is not None:
            payload["speaks"] = claims.speaks
        return jwt.encode(
            payload,
            self._keys[self._current],
            algorithm=ALGORITHM,
            headers={"kid": self._current},
        )

    def read(self, token: str, *, room: str | None = None) -> Claims:
        """What a token says. Raises Unauthorized for one that is malformed, forged or expired,
        and Forbidden for one of another room than `room`."""
        if len(token) > MAX_TOKEN:
            raise Unauthorized(f"The token is longer than {MAX_TOKEN} characters.")
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise Unauthorized("The token was not issued here.")
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                options={"require": ["exp", "iat", "room", "sub", "role", "name"]},
            )
            claims = msgspec.convert(payload, Claims)
        except jwt.ExpiredSignatureError:
            raise Unauthorized("The token has expired. Join the room again.") from None
        except jwt.InvalidSignatureError:
            raise Unauthorized("The token's signature is wrong.") from None
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError):
            raise Unauthorized("The token cannot be read.") from None
        if len(claims.name) > MAX_NAME:
            raise Unauthorized("The token cannot be read.")
        if room is not None and claims.room != room:
            raise Forbidden("The token is for another room.")
        return claims


def bearer(authorization: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750). Raises Unauthorized without one."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("A token is needed: Authorization: Bearer <token>.")
    return token
