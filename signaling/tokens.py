"""Participants' tokens: signed JWTs (RFC 7519, HS256) that say who somebody is in one room.

The role in a token is the role at issue; what somebody may do now comes from the room's state.
Every token names its key (`kid`), so that a new key can be put in use while tokens of the old
one are still good.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable

import jwt
import msgspec

from chatroom.errors import Forbidden, Unauthorized
from chatroom.protocol import MAX_NAME
from chatroom.roles import Role

ALGORITHM = "HS256"
MAX_TOKEN = 4096
"""Longest token that is looked at, in characters."""
MAX_KNOWN = 20_000
"""Tokens whose claims are remembered, some 500 bytes each."""


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
    """Issues tokens with the first key, accepts those of every key given.

    What was issued or read lately is remembered by the token's SHA-256, until it expires: a
    listener who joins shows the token again a moment later, and who polls shows it with every
    request. `clock` gives unix seconds.
    """

    def __init__(
        self, *secrets: bytes, lifetime_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        if not secrets:
            raise ValueError("At least one key is needed.")
        self._keys = {key_id(secret): secret for secret in secrets}
        self._current = key_id(secrets[0])
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Claims, float]] = OrderedDict()
        head = {"alg": ALGORITHM, "typ": "JWT", "kid": self._current}
        self._head = _base64(msgspec.json.encode(head)) + b"."

    def issue(self, claims: Claims, now: float) -> str:
        """A token good for the lifetime from `now` (unix seconds)."""
        expires = int(now + self._lifetime_s)
        payload = {
            "room": claims.room,
            "sub": claims.sub,
            "name": claims.name,
            "role": claims.role.value,
            "iat": int(now),
            "exp": expires,
        }
        if claims.speaks is not None:
            payload["speaks"] = claims.speaks
        signed = self._head + _base64(msgspec.json.encode(payload))
        signature = hmac.digest(self._keys[self._current], signed, "sha256")
        token = (signed + b"." + _base64(signature)).decode()
        self._remember(_digest(token), claims, expires)
        return token

    def read(self, token: str, *, room: str | None = None) -> Claims:
        """What a token says. Raises Unauthorized for one that is malformed, forged or expired,
        and Forbidden for one of another room than `room`."""
        if len(token) > MAX_TOKEN:
            raise Unauthorized(f"The token is longer than {MAX_TOKEN} characters.")
        digest = _digest(token)
        claims = self._recall(digest)
        if claims is None:
            claims, expires = self._verify(token)
            self._remember(digest, claims, expires)
        if room is not None and claims.room != room:
            raise Forbidden("The token is for another room.")
        return claims

    def _verify(self, token: str) -> tuple[Claims, float]:
        """What a token says, and until when."""
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
        return claims, float(payload["exp"])

    def _remember(self, digest: bytes, claims: Claims, expires: float) -> None:
        self._known[digest] = (claims, expires)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)

    def _recall(self, digest: bytes) -> Claims | None:
        known = self._known.get(digest)
        if known is None:
            return None
        claims, expires = known
        if self._clock() >= expires:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return claims


def _base64(data: bytes) -> bytes:
    """Without padding, as tokens have it (RFC 7515)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def bearer(authorization: str | None) -> str:
    """The token of an `Authorization` header (RFC 6750). Raises Unauthorized without one."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("A token is needed: Authorization: Bearer <token>.")
    return token
