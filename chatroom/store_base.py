"""What every part of the store shares: the client, the scripts, and how failures are told."""

from __future__ import annotations

import asyncio
import pathlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chatroom.errors import Unavailable
from chatroom.redis_settings import RedisSettings
from chatroom.room_settings import RoomSettings

_HERE = pathlib.Path(__file__).parent

_DOWN = (
    exceptions.ConnectionError,  # BusyLoadingError, MaxConnectionsError and more
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.TryAgainError,
    OSError,
    TimeoutError,
)


def connect_redis(settings: RedisSettings, url: str | None = None) -> redis.asyncio.Redis:
    """A client with this project's limits: it fails quickly and holds few connections. `url`
    overrides the settings' (the embedded server's). Connects at the first use."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url or settings.url,
        max_connections=settings.max_connections,
        timeout=settings.timeout_s,
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        decode_responses=False,
        protocol=2,  # nothing here needs RESP3, whose push messages some calls would have to skip
        # One more try: a connection that lay idle over a restart of the server is found dead
        # only by using it. The store's own deadline ends what takes longer.
        retry=Retry(NoBackoff(), 1),
    )
    return redis.asyncio.Redis.from_pool(pool)


class StoreBase:
    """Every call raises Unavailable where Redis does not answer in time."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        settings: RoomSettings | None = None,
        *,
        timeout_s: float = 3.0,
    ) -> None:
        self.redis = redis
        self.settings = settings or RoomSettings()
        self.timeout_s = timeout_s
        self._scripts: dict[str, Any] = {}

    async def ping(self) -> None:
        """Raises Unavailable, with the cause in its text, where there is nobody to talk to."""
        await self._call("PING")

    @asynccontextmanager
    async def _reachable(self) -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        try:
            async with asyncio.timeout(self.timeout_s):
                yield
        except _DOWN as error:
            raise Unavailable(
                f"The store does not answer ({type(error).__name__}).", retry_after_s=2
            ) from error
        # The client writes inside asyncio.wait_for, which in Python 3.11 loses a cancellation
        # that comes in the turn in which the writing ends: a task would never stop.
        if task.cancelling() > cancelling:
            raise asyncio.CancelledError

    async def _run(self, name: str, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """Run `<name>.lua`, loading it into the server where it is not known yet."""
        script = self._scripts.get(name)
        if script is None:
            text = (_HERE / f"{name}.lua").read_text()
            script = self._scripts[name] = self.redis.register_script(text)
        async with self._reachable():
            return await script(keys=keys, args=args)

    async def _call(self, *command: Any) -> Any:
        async with self._reachable():
            return await self.redis.execute_command(*command)  # type: ignore[no-untyped-call]


def text(value: bytes | str) -> str:
    """What Redis answers, as text, whether the client decodes or not."""
    return value.decode() if isinstance(value, bytes) else value
