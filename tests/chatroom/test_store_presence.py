"""Counts with a time to live, in a real Redis."""

import asyncio

import pytest
from redis.asyncio import Redis

from chatroom import keys, store_presence
from chatroom.store import Store


async def test_nodes_are_summed(store: Store) -> None:
    await store.set_presence("r", "n1", 3, ["en", "zh"])
    await store.set_presence("r", "n2", 4, ["zh", "es"])
    await store.set_presence("other", "n1", 9, ["fr"])
    assert await store.audience("r") == (7, {"en", "zh", "es"})
    assert await store.listeners("r") == 7
    assert await store.wanted_languages("r") == {"en", "zh", "es"}


async def test_a_node_says_anew_and_says_nobody(store: Store, redis: Redis) -> None:
    await store.set_presence("r", "n1", 3, ["en"])
    await store.set_presence("r", "n1", 2, [])
    assert await store.audience("r") == (2, set())
    # Nobody in the audience, but those on stage read too.
    await store.set_presence("r", "n1", 0, ["en"])
    assert await store.audience("r") == (0, {"en"})
    await store.leave_presence("r", "n1")
    assert await store.audience("r") == (0, set())
    assert not await redis.exists(keys.presence("r"))


async def test_nobody_anywhere(store: Store) -> None:
    assert await store.audience("r") == (0, set())


async def test_a_silent_node_is_forgotten(
    store: Store, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.set_presence("r", "loud", 1, ["en"])
    monkeypatch.setattr(store_presence, "PRESENCE_TTL_MS", 20)
    await store.set_presence("r", "silent", 5, ["zh"])
    await asyncio.sleep(0.03)
    assert await store.audience("r") == (1, {"en"})
    assert 3000 < await redis.pttl(keys.presence("r")) <= 5000


async def test_speaking_rooms(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await store.speaking_rooms() == []
    await store.touch_speaking("r1")
    await asyncio.sleep(0.002)
    await store.touch_speaking("r2")
    await asyncio.sleep(0.002)
    await store.touch_speaking("r1")
    assert await store.speaking_rooms() == ["r2", "r1"]
    monkeypatch.setattr(store_presence, "SPEAKING_WINDOW_MS", 0)
    await asyncio.sleep(0.002)
    assert await store.speaking_rooms() == []
