"""The server of our own: it keeps what it was told, and never outlives who started it."""

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from chatroom.errors import Unavailable
from chatroom.protocol import RoomDraft
from chatroom.redis_server import EmbeddedRedis
from chatroom.redis_settings import RedisSettings
from chatroom.store import Store, connect_redis

ROOT = pathlib.Path(__file__).parents[2]

PARENT = """
import asyncio, sys, threading
from chatroom.protocol import RoomDraft
from chatroom.redis_server import EmbeddedRedis
from chatroom.redis_settings import RedisSettings
from chatroom.store import Store, connect_redis

async def main():
    server = EmbeddedRedis(sys.argv[1], fsync="always")
    # From a thread that ends at once: the server must not end with it.
    starter = threading.Thread(target=server.start_blocking)
    starter.start()
    await asyncio.to_thread(starter.join)
    client = connect_redis(RedisSettings(), server.url)
    room = await Store(client).create_room(RoomDraft("Kept", ["en"]), "host", 0.0)
    process = (await client.info("server"))["process_id"]
    print(room.room, process, server._reaper.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def alive(process: int) -> bool:
    """Whether it runs; a zombie that nobody has waited for yet does not."""
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def parent(data: pathlib.Path):  # type: ignore[no-untyped-def]
    """A process that started a server and made a room: it, the room, the server, the reaper."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    try:
        room, server, reaper = process.stdout.readline().split()
        yield process, room, int(server), int(reaper)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def title(server: EmbeddedRedis, room: str) -> str:
    client = connect_redis(RedisSettings(timeout_s=10), server.url)
    async with contextlib.aclosing(client):
        return (await Store(client, timeout_s=15).load_room(room)).title


async def test_data_outlives_a_restart(tmp_path: pathlib.Path) -> None:
    subject = EmbeddedRedis(tmp_path / "made" / "redis")
    assert not subject.running
    await subject.start()
    await subject.start()  # already runs: harmless
    assert subject.running
    client = connect_redis(RedisSettings(timeout_s=10), subject.url)
    room = await Store(client).create_room(RoomDraft("Kept", ["en"]), "host", 0.0)
    await client.aclose()
    await subject.stop()
    await subject.stop()
    assert not subject.running
    with pytest.raises(RuntimeError):
        _ = subject.url
    await subject.start()
    assert await title(subject, room.room) == "Kept"
    await subject.stop()


async def test_it_listens_on_no_network_address(redis_server: EmbeddedRedis) -> None:
    client = connect_redis(RedisSettings(), redis_server.url)
    async with contextlib.aclosing(client):
        settings = await client.config_get("port", "unixsocket", "unixsocketperm", "appendonly")
    assert settings[b"port" if b"port" in settings else "port"] in (b"0", "0")
    mode = os.stat(redis_server.data / "redis.sock").st_mode & 0o777
    assert mode == 0o700
    assert redis_server.data.stat().st_mode & 0o077 == 0


async def test_it_dies_when_its_parent_is_killed_and_keeps_the_rooms(
    tmp_path: pathlib.Path,
) -> None:
    with parent(tmp_path) as (process, room, server, reaper):
        assert alive(server)
        process.send_signal(signal.SIGKILL)
        # At once, while the old one may still be leaving: the next start waits for it.
        subject = EmbeddedRedis(tmp_path, lock_timeout_s=20)
        process.wait()
        await subject.start()
        try:
            assert not alive(server)
            assert await title(subject, room) == "Kept"
        finally:
            await subject.stop()
        wait_for(lambda: not alive(reaper))


def test_it_dies_when_its_reaper_is_killed(tmp_path: pathlib.Path) -> None:
    with parent(tmp_path) as (_, _, server, reaper):
        os.kill(reaper, signal.SIGKILL)
        wait_for(lambda: not alive(server))


async def test_ctrl_c_on_the_terminal_does_not_reach_it(tmp_path: pathlib.Path) -> None:
    subject = EmbeddedRedis(tmp_path)
    await subject.start()
    assert subject._reaper is not None
    assert os.getsid(subject._reaper.pid) != os.getsid(0)
    await subject.stop()


async def test_a_crashed_server_is_started_again(
    tmp_path: pathlib.Path,
) -> None:
    subject = EmbeddedRedis(tmp_path, fsync="always")
    await subject.start()
    client = connect_redis(RedisSettings(timeout_s=10), subject.url)
    try:
        store = Store(client)
        room = await store.create_room(RoomDraft("Kept", ["en"]), "host", 0.0)
        first = (await client.info("server"))["process_id"]
        await asyncio.sleep(2.1)  # one that dies sooner is taken for one that cannot run
        os.kill(first, signal.SIGKILL)

        async def again() -> str:
            while True:
                try:
                    if (await client.info("server"))["process_id"] != first:
                        return (await store.load_room(room.room)).title
                except Exception:
                    await asyncio.sleep(0.02)

        assert await asyncio.wait_for(again(), 20) == "Kept"
    finally:
        await client.aclose()
        await subject.stop()


async def test_one_server_a_directory(redis_server: EmbeddedRedis) -> None:
    second = EmbeddedRedis(redis_server.data)
    with pytest.raises(Unavailable, match="in use by another server") as caught:
        await second.start()
    assert str(redis_server.data) in caught.value.message
    assert str(os.getpid()) in caught.value.message
    assert redis_server.running


async def test_a_path_too_long_for_a_socket(tmp_path: pathlib.Path) -> None:
    subject = EmbeddedRedis(tmp_path / ("long" * 20) / "redis")
    await subject.start()
    path = pathlib.Path(subject.url.removeprefix("unix://"))
    assert not path.is_relative_to(tmp_path)
    client = connect_redis(RedisSettings(), subject.url)
    assert await client.ping()
    await client.aclose()
    await subject.stop()
    assert not path.parent.exists()


async def test_odd_characters_in_the_path(tmp_path: pathlib.Path) -> None:
    subject = EmbeddedRedis(tmp_path / "a b%20#?ü")
    await subject.start()
    client = connect_redis(RedisSettings(), subject.url)
    assert await client.ping()
    await client.aclose()
    await subject.stop()


async def test_a_directory_that_cannot_be_used(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be used"):
        await EmbeddedRedis(tmp_path / "file" / "redis").start()


async def test_damaged_data_says_so(tmp_path: pathlib.Path) -> None:
    subject = EmbeddedRedis(tmp_path)
    await subject.start()
    await subject.stop()
    (manifest,) = (tmp_path / "appendonlydir").glob("*.manifest")
    manifest.write_text("nonsense\n")
    with pytest.raises(Unavailable, match="does not start") as caught:
        await subject.start()
    assert str(tmp_path) in caught.value.message
    assert "manifest" in caught.value.message
    assert not subject.running
