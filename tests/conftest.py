"""What tests of every package share: a real Redis server, and the store on it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import settings
from redis.asyncio import Redis

from chatroom.live import Live
from chatroom.redis_server import EmbeddedRedis
from chatroom.redis_settings import RedisSettings
from chatroom.store import Store, connect_redis

# The same examples every time, however slow the machine. To look for new ones:
# pytest --hypothesis-profile=explore
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One real server for the whole run, on a unix socket; belongs to no event loop."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), fsync="no")
    server.start_blocking()
    yield server
    server.stop_blocking()


@pytest.fixture
async def redis(redis_server: EmbeddedRedis) -> AsyncIterator[Redis]:
    """A client of an empty database."""
    client = connect_redis(RedisSettings(timeout_s=10), redis_server.url)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def store(redis: Redis) -> Store:
    return Store(redis, timeout_s=15)


@pytest.fixture
async def live(redis: Redis) -> AsyncIterator[Live]:
    subject = Live(redis, timeout_s=15)
    yield subject
    await subject.aclose()
