"""Rates by key: token buckets. Pure; the clock is an argument."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Bucket:
    """One token bucket: `burst` at once, refilled at `rate` a second."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, now: float) -> float:
        """0 when there was a token, which is then taken; otherwise the seconds to wait."""
        self._refill(now)
        if self._level >= 1.0:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / self._rate

    def full(self, now: float) -> bool:
        """Whether nothing is owed, so that the bucket may be forgotten."""
        self._refill(now)
        return self._level >= self._burst

    def _refill(self, now: float) -> None:
        self._level = min(self._burst, self._level + max(0.0, now - self._at) * self._rate)
        self._at = now


class Buckets:
    """A bucket for every key, forgotten when full; at most `max_keys` are kept."""

    def __init__(self, rate: float, burst: float, max_keys: int = 50_000) -> None:
        self._rate = rate
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: dict[str, Bucket] = {}

    def take(self, key: str, now: float) -> float:
        """As `Bucket.take`, for one key."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max_keys:
                self._sweep(now)
            bucket = self._buckets[key] = Bucket(self._rate, self._burst, now)
        return bucket.take(now)

    def _sweep(self, now: float) -> None:
        self._buckets = {k: b for k, b in self._buckets.items() if not b.full(now)}
        if len(self._buckets) >= self._max_keys:
            self._buckets.clear()


def client_address(remote: str, forwarded_for: str | None, trusted: Sequence[Network]) -> str:
    """The address of the client: of `X-Forwarded-For` (nearest proxy last) the last address
    that is not a trusted proxy, believed only when the connection itself comes from one.

    IPv6 addresses are cut to their /64, which is what one customer has."""
    chain = [remote]
    if forwarded_for:
        chain = [part.strip() for part in forwarded_for.split(",")] + chain
    while len(chain) > 1 and _is_trusted(chain[-1], trusted):
        chain.pop()
    try:
        address = ipaddress.ip_address(chain[-1].strip("[]"))
    except ValueError:
        return remote
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_loopback(address: str) -> bool:
    """Whether `client_address` gave this machine itself."""
    return address.startswith("127.") or address in ("::/64", "::1")


def networks(texts: Sequence[str]) -> list[Network]:
    """Parse addresses and networks; raises ValueError with the text that is neither."""
    return [ipaddress.ip_network(text, strict=False) for text in texts]


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in trusted if network.version == parsed.version)
