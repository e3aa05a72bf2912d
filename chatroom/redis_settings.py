"""What an operator may set about Redis."""

from __future__ import annotations

from dataclasses import dataclass

from chatroom.settings import setting


@dataclass(frozen=True)
class RedisSettings:
    """Section `[redis]`."""

    url: str = setting(
        "",
        "redis://, rediss:// or unix:// address of a Redis or Valkey server (7 or later). "
        "Empty: the server starts its own and keeps its files in `data`.",
        secret=True,
    )
    data: str = setting(
        "data/redis", "Directory of the embedded server's files; used where `url` is empty."
    )
    timeout_s: float = setting(
        2.0,
        "How long a call to Redis may take before people are told that the store is down.",
        unit="s",
        minimum=0.1,
        maximum=60,
    )
    max_connections: int = setting(
        32, "Connections to Redis a process may hold at once.", minimum=2, maximum=10_000
    )
    fsync: str = setting(
        "everysec",
        "When the embedded server writes to the disk: `everysec` may lose a second when the "
        "machine loses power, `always` loses nothing and is slower, `no` leaves it to the system.",
        choices=("everysec", "always", "no"),
    )
