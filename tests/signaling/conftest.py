"""A whole server in the test's process: real Redis, real sockets, real media port."""

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from redis.asyncio import Redis

from chatroom.redis_server import EmbeddedRedis
from chatroom.redis_settings import RedisSettings
from media.settings import MediaSettings
from signaling.app import Server
from signaling.config import Config
from signaling.settings import ServerSettings
from tests.signaling.client import Client

Starter = Callable[..., Awaitable[Server]]


@pytest.fixture
async def start(redis: Redis, redis_server: EmbeddedRedis) -> AsyncIterator[Starter]:
    """Starts servers on one Redis; `start(linger_s=1)` changes settings of `[server]`."""
    assert await redis.ping()
    servers: list[Server] = []

    async def starter(media: MediaSettings | None = None, **settings: object) -> Server:
        chosen = {"port": 0, "worker": False, "rooms_at_once": 1000, **settings}
        server = Server(
            Config(
                server=ServerSettings(**chosen),  # type: ignore[arg-type]
                redis=RedisSettings(url=redis_server.url, timeout_s=10),
                media=media
                or MediaSettings(
                    host=["127.0.0.1"], port=0, advertise=["127.0.0.1"], plane="python"
                ),
            )
        )
        await server.start()
        servers.append(server)
        return server

    yield starter
    for server in servers:
        await server.stop()


@pytest.fixture
async def server(start: Starter) -> Server:
    return await start()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, server.url)
