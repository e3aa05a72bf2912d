"""Leases and secrets in Redis: what one process holds, and what all of them share."""

from __future__ import annotations

import secrets

from chatroom import keys
from chatroom.store_base import StoreBase

_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


class LeaseStore(StoreBase):
    """Part of the store; see `chatroom.store`.

    A lease is fenced by its token: a holder that slept past its time to live can neither renew
    nor release what another has taken since, and `post_caption` refuses its captions.
    """

    async def acquire_lease(self, room: str, owner: str, ttl_ms: int) -> str | None:
        """A token while nobody holds the room, else None. `owner` is for people to read."""
        token = f"{owner}/{secrets.token_hex(8)}"
        taken = await self._call("SET", keys.lease(room), token, "NX", "PX", ttl_ms)
        return token if taken else None

    async def renew_lease(self, room: str, token: str, ttl_ms: int) -> bool:
        """Whether the lease is still held; if so it lives for `ttl_ms` from now."""
        async with self._reachable():
            return bool(await self.redis.eval(_RENEW, 1, keys.lease(room), token, ttl_ms))

    async def release_lease(self, room: str, token: str) -> bool:
        """Give the room back; False where it was not held any more."""
        async with self._reachable():
            return bool(await self.redis.eval(_RELEASE, 1, keys.lease(room), token))

    async def secret(self, name: str) -> bytes:
        """32 random bytes that all nodes share, made at the first asking and kept for ever."""
        key = keys.secret(name)
        await self._call("SET", key, secrets.token_bytes(32), "NX")
        value = await self._call("GET", key)
        assert isinstance(value, bytes)
        return value
