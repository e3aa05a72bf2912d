"""Captions in a real Redis: the newest revision of each utterance, and nothing going back."""

from typing import Any

import pytest
from redis.asyncio import Redis

from chatroom import keys
from chatroom.errors import LeaseLost, RoomNotFound
from chatroom.protocol import Caption, CaptionPosted, CaptionsStatus, RoomDraft
from chatroom.room_settings import RoomSettings
from chatroom.store import Store

DRAFT = RoomDraft("Tea", ["en"])


@pytest.fixture
async def room(store: Store) -> str:
    return (await store.create_room(DRAFT, "host", 0.0)).room


def caption(utterance: str, revision: int, **fields: Any) -> Caption:
    values = {"final": True, "language": "en", "text": utterance, "start_ms": 0, "end_ms": 1}
    return Caption(utterance, "ann", "Ann", revision, **(values | fields))


async def test_partials_are_live_only(store: Store, room: str) -> None:
    assert await store.post_caption(room, caption("u", 1, final=False)) is None
    assert await store.captions(room) == []
    assert await store.events_after(room, "0-0") == []


async def test_final_and_its_later_translations(store: Store, room: str) -> None:
    bare = caption("u", 3)
    full = caption("u", 4, translations={"zh": "你好"})
    cursors = [await store.post_caption(room, bare), await store.post_caption(room, full)]
    assert await store.captions(room) == [full]
    assert await store.events_after(room, "0-0") == list(
        zip(cursors, [CaptionPosted(bare), CaptionPosted(full)], strict=True)
    )


async def test_nothing_goes_back(store: Store, room: str) -> None:
    """A final is repeated, or overtaken, or a partial of it comes late: nobody hears of it."""
    final = caption("u", 5)
    cursor = await store.post_caption(room, final)
    assert await store.post_caption(room, final) is None
    assert await store.post_caption(room, caption("u", 4, text="older")) is None
    assert await store.post_caption(room, caption("u", 9, final=False)) is None
    assert await store.captions(room) == [final]
    assert await store.latest_cursor(room) == cursor


async def test_oldest_first_by_the_rooms_clock(store: Store, room: str) -> None:
    for name, start in (("c", 300), ("a", 100), ("b", 200)):
        await store.post_caption(room, caption(name, 1, start_ms=start, end_ms=start))
    await store.post_caption(room, caption("a", 2, start_ms=100, end_ms=100))
    assert [c.utterance for c in await store.captions(room)] == ["a", "b", "c"]
    assert [c.utterance for c in await store.captions(room, 2)] == ["b", "c"]
    assert await store.captions(room, 0) == []


async def test_history_is_bounded(redis: Redis, room: str) -> None:
    store = Store(redis, RoomSettings(caption_history=3), timeout_s=15)
    for number in range(6):
        await store.post_caption(room, caption(f"u{number}", 1, start_ms=number))
    assert [c.utterance for c in await store.captions(room)] == ["u3", "u4", "u5"]
    # A late translation of what is forgotten is told, and forgotten again.
    assert await store.post_caption(room, caption("u0", 2, start_ms=0)) is not None
    assert [c.utterance for c in await store.captions(room)] == ["u3", "u4", "u5"]
    assert await redis.hlen(keys.captions(room)) == 3
    assert await redis.zcard(keys.caption_order(room)) == 3


async def test_only_the_holder_of_the_lease_posts(store: Store, room: str) -> None:
    token = await store.acquire_lease(room, "worker-1", 60_000)
    assert token is not None
    assert await store.post_caption(room, caption("u", 1), token) is not None
    await store.release_lease(room, token)
    for posted in (caption("u", 2), caption("v", 1, final=False)):
        with pytest.raises(LeaseLost):
            await store.post_caption(room, posted, token)
    assert [c.revision for c in await store.captions(room)] == [1]


async def test_no_room_no_captions(store: Store) -> None:
    with pytest.raises(RoomNotFound):
        await store.post_caption("nowhere", caption("u", 1))
    assert await store.captions("nowhere") == []


async def test_captions_go_when_the_room_goes(store: Store, redis: Redis, room: str) -> None:
    await store.post_caption(room, caption("u", 1))
    left = await redis.ttl(keys.state(room))
    for key in (keys.captions(room), keys.caption_order(room), keys.events(room)):
        assert left - 5 <= await redis.ttl(key) <= left


async def test_status_is_off_until_said_and_after_a_while(store: Store, redis: Redis) -> None:
    assert (await store.captions_status()).state == "off"
    status = CaptionsStatus("fetching", "Fetching…", 0.25, pairs=["en-pt"])
    await store.set_captions_status(status, ttl_s=30)
    assert await store.captions_status() == status
    assert 20_000 < await redis.pttl(keys.CAPTIONS_STATUS) <= 30_000
