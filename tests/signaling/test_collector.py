"""The garbage collector is told to leave full rooms alone."""

import asyncio
import gc
from collections.abc import Iterator

import aiohttp
import pytest

from signaling import collector
from tests.signaling.client import Client
from tests.signaling.conftest import Starter


@pytest.fixture
def restored() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_at_the_start_is_left_out(restored: None) -> None:
    assert gc.get_freeze_count() == 0
    collector.calm()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold() == (collector.YOUNG, collector.MIDDLE, collector.FULL)
    assert gc.isenabled()


async def test_the_last_room_to_go_is_swept_up_after(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = asyncio.Event()
    monkeypatch.setattr(collector, "tidy", swept.set)
    server = await start(linger_s=0)
    async with aiohttp.ClientSession() as session:
        client = Client(session, server.url)
        host = await client.create()
        await client.join(host.room)
        assert server.context.hub.rooms
        async with asyncio.timeout(20):
            await swept.wait()
        assert not server.context.hub.rooms
