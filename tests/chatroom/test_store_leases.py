"""Leases and secrets in a real Redis."""

import asyncio

from chatroom.store import Store


async def test_one_holder_at_a_time(store: Store) -> None:
    token = await store.acquire_lease("r", "w1", 60_000)
    assert token is not None
    assert token.startswith("w1/")
    assert await store.acquire_lease("r", "w2", 60_000) is None
    assert await store.acquire_lease("other", "w2", 60_000) is not None
    assert await store.renew_lease("r", token, 60_000)
    assert await store.release_lease("r", token)
    assert not await store.release_lease("r", token)
    assert await store.acquire_lease("r", "w2", 60_000) is not None


async def test_an_expired_holder_cannot_touch_the_next(store: Store) -> None:
    old = await store.acquire_lease("r", "w1", 1)
    assert old is not None
    await asyncio.sleep(0.01)
    new = await store.acquire_lease("r", "w1", 60_000)
    assert new not in (None, old)
    assert not await store.renew_lease("r", old, 60_000)
    assert not await store.release_lease("r", old)
    assert new is not None
    assert await store.renew_lease("r", new, 60_000)


async def test_renewing_moves_the_end(store: Store) -> None:
    token = await store.acquire_lease("r", "w1", 1000)
    assert token is not None
    assert await store.renew_lease("r", token, 90_000)
    assert 60_000 < await store.redis.pttl("room:{r}:lease") <= 90_000


async def test_secrets_are_made_once_and_shared(store: Store) -> None:
    first = await asyncio.gather(*(store.secret("jwt") for _ in range(5)))
    assert len(set(first)) == 1
    assert len(first[0]) == 32
    assert await store.secret("other") != first[0]
