"""What only the native plane does: crowds, pacing, threads. The rest is in test_plane.py."""

from __future__ import annotations

import asyncio
import gc
import pathlib
import random
import runpy
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import aioice.stun as stun
import pytest

from media.plane import PeerHandle, SrtpKeys
from tests.media.client import random_keys
from tests.media.conftest import Recorder, new_credentials
from tests.media.test_srtp_native import Native, rtp

native = pytest.importorskip("media._native", reason="the extension was not built")

from media.plane_native import NativePlane, open_native_plane  # noqa: E402

SSRC = 0x600D
FIRST = 0x7F020001
IP_PKTINFO = 8


class Crowd:
    """Members with an address in 127.2.0.0/16 each and one socket for all of them."""

    def __init__(self, plane: NativePlane) -> None:
        self.plane = plane
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self.sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.sock.bind(("0.0.0.0", 0))
        self.sock.setblocking(False)
        self.handles: list[PeerHandle] = []
        self.keys: list[SrtpKeys] = []
        self.receivers: list[Native] = []
        self.got: dict[int, list[bytes]] = {}

    async def add(self, count: int, heard: Recorder) -> None:
        for _ in range(count):
            number, credentials, keys = len(self.handles), new_credentials(), random_keys()
            handle = self.plane.add_peer(credentials)
            message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
            message.attributes["USERNAME"] = f"{credentials.local_ufrag}:them"
            message.attributes["USE-CANDIDATE"] = None
            message.add_message_integrity(credentials.local_password.encode())
            data = bytes(message)
            native.lib.bench_send_from(
                self.sock.fileno(), FIRST + number, self.plane.port, data, len(data)
            )
            self.plane.set_keys(handle, keys)
            self.handles.append(handle)
            self.keys.append(keys)
            self.receivers.append(Native.from_master(keys.profile, keys.send, False))
        async with asyncio.timeout(5):
            while len(heard.validated) < len(self.handles):
                await asyncio.sleep(0.005)

    def read(self) -> int:
        """Take in what has arrived; how many SRTP packets that was."""
        count = 0
        while True:
            try:
                data, control, _, _ = self.sock.recvmsg(2048, 64)
            except BlockingIOError:
                return count
            if data[0] < 4:
                continue
            number = int.from_bytes(control[0][2][8:12], "big") - FIRST
            self.got.setdefault(number, []).append(self.receivers[number].unprotect(data))
            count += 1

    async def collect(self, count: int) -> None:
        """Wait for so many SRTP packets, and for the next moment to bring no more."""
        async with asyncio.timeout(10):
            while count > 0:
                count -= self.read()
                await asyncio.sleep(0.002)
        await asyncio.sleep(0.02)
        assert count == 0
        assert self.read() == 0


@pytest.fixture
def heard() -> Recorder:
    return Recorder()


@pytest.fixture
async def crowd(heard: Recorder) -> AsyncIterator[Crowd]:
    """No members yet."""
    plane = await open_native_plane(["127.0.0.1"], 0, consent_timeout_s=30, threads=2)
    assert isinstance(plane, NativePlane)
    plane.set_listener(heard)
    crowd = Crowd(plane)
    yield crowd
    await plane.close()
    crowd.sock.close()


async def test_a_large_group_is_served_over_the_whole_spread(crowd: Crowd, heard: Recorder) -> None:
    await crowd.add(400, heard)
    group = crowd.plane.add_group()
    for handle in crowd.handles:
        crowd.plane.join_group(group, handle, 96, {})
    start = time.monotonic()
    crowd.plane.send_group(group, rtp(1, b"slowly"), 1, spread_s=0.3)
    arrivals: list[float] = []
    async with asyncio.timeout(10):
        while len(arrivals) < 400:
            await asyncio.sleep(0.005)
            arrivals += [time.monotonic() - start] * crowd.read()
    # Late by what the machine is busy with, but never early.
    for number, arrival in enumerate(arrivals):
        assert arrival >= 0.3 * number / 400 - 0.02
    assert all(len(packets) == 1 for packets in crowd.got.values())
    assert crowd.plane.stats().send_blocked == 0


async def test_the_next_packet_does_not_overtake_a_slow_one(crowd: Crowd, heard: Recorder) -> None:
    await crowd.add(300, heard)
    group = crowd.plane.add_group()
    for handle in crowd.handles:
        crowd.plane.join_group(group, handle, 96, {})
    start = time.monotonic()
    crowd.plane.send_group(group, rtp(1, b"first"), 1, spread_s=30)
    crowd.plane.send_group(group, rtp(2, b"second"), 2)
    await crowd.collect(600)
    assert time.monotonic() - start < 10
    for packets in crowd.got.values():
        assert [packet[12:] for packet in packets] == [b"first", b"second"]


async def test_who_leaves_or_moves_gets_what_was_sent_before(crowd: Crowd, heard: Recorder) -> None:
    await crowd.add(300, heard)
    first, second = crowd.plane.add_group(), crowd.plane.add_group()
    for handle in crowd.handles[:290]:
        crowd.plane.join_group(first, handle, 96, {})
    for index in (1, 2, 3):
        crowd.plane.send_group(first, rtp(index, b"%d" % index), index, spread_s=0.2)
    for handle in crowd.handles[:100]:
        crowd.plane.leave_group(first, handle)
    for handle in crowd.handles[100:200]:
        crowd.plane.join_group(second, handle, 97, {SSRC: 4 - 1000})
    for handle in crowd.handles[290:]:
        crowd.plane.join_group(first, handle, 96, {})
    crowd.plane.send_group(second, rtp(1000, b"4"), 1000)
    crowd.plane.remove_peer(crowd.handles[250])
    crowd.plane.remove_group(first)
    await crowd.collect(290 * 3 + 100)
    for number in range(290):
        payloads = sorted(packet[12:] for packet in crowd.got[number])
        assert payloads == [b"1", b"2", b"3"] + [b"4"] * (100 <= number < 200)
    assert not crowd.got.keys() & set(range(290, 300))


async def test_a_small_group_does_not_wait_for_a_large_one(crowd: Crowd, heard: Recorder) -> None:
    await crowd.add(301, heard)
    large, small = crowd.plane.add_group(), crowd.plane.add_group()
    for handle in crowd.handles[:300]:
        crowd.plane.join_group(large, handle, 96, {})
    crowd.plane.join_group(small, crowd.handles[300], 96, {})
    crowd.plane.send_group(large, rtp(1, b"x"), 1, spread_s=1.0)
    crowd.plane.send_group(small, rtp(1, b"y"), 1, spread_s=1.0)
    async with asyncio.timeout(10):
        while 300 not in crowd.got:
            await asyncio.sleep(0.002)
            crowd.read()
    assert len(crowd.got) < 301
    await crowd.collect(301 - len(crowd.got))


async def test_joins_and_leaves_while_packets_go_out(crowd: Crowd, heard: Recorder) -> None:
    chance = random.Random(3)
    await crowd.add(250, heard)
    groups = [crowd.plane.add_group() for _ in range(3)]
    at: list[int | None] = [None] * 250
    index = [0, 0, 0]
    due: list[list[bytes]] = [[] for _ in range(250)]
    sent = 0
    for step in range(600):
        number = chance.randrange(250)
        to = chance.choice((0, 0, 1, 2, None))
        before = at[number]
        if to is not None:
            offsets = {SSRC: len(due[number]) - index[to] - 1}
            crowd.plane.join_group(groups[to], crowd.handles[number], 96, offsets)
        elif before is not None:
            crowd.plane.leave_group(groups[before], crowd.handles[number])
        at[number] = to
        if step % 5 == 0:
            which = chance.randrange(3)
            index[which] += 1
            body = b"%d of %d" % (index[which], which)
            crowd.plane.send_group(
                groups[which], rtp(index[which], body), index[which], chance.choice((0, 0.05))
            )
            for member in range(250):
                if at[member] == which:
                    due[member].append(body)
                    sent += 1
        if step % 50 == 0:
            await asyncio.sleep(0.01)
    await crowd.collect(sent)
    for member, bodies in enumerate(due):
        packets = sorted(crowd.got.get(member, []), key=lambda p: p[2:4])
        assert [packet[12:] for packet in packets] == bodies
        assert [int.from_bytes(p[2:4], "big") for p in packets] == list(range(len(bodies)))
    assert Counter(crowd.plane.stats().dropped) == {}


async def test_what_is_queued_at_closing_still_goes_out(heard: Recorder) -> None:
    plane = await open_native_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    assert isinstance(plane, NativePlane)
    plane.set_listener(heard)
    crowd = Crowd(plane)
    await crowd.add(300, heard)
    group = plane.add_group()
    for handle in crowd.handles:
        plane.join_group(group, handle, 96, {})
    plane.send_group(group, rtp(1, b"goodbye"), 1, spread_s=20)
    await plane.close()
    await crowd.collect(300)
    assert plane.stats().packets_sent >= 300
    crowd.sock.close()


async def test_a_closed_plane_says_so(heard: Recorder) -> None:
    plane = await open_native_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    group, peer = plane.add_group(), plane.add_peer(new_credentials())
    await plane.close()
    with pytest.raises(RuntimeError, match="closed"):
        plane.add_peer(new_credentials())
    with pytest.raises(RuntimeError, match="closed"):
        plane.send_group(group, rtp(1, b""), 1)
    plane.remove_peer(peer)
    plane.remove_group(group)
    plane.send_rtp(peer, rtp(1, b""), 1)


async def test_a_forgotten_plane_ends_its_threads() -> None:
    plane = await open_native_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    port = plane.port
    asyncio.get_running_loop().remove_reader(plane._event_fd)  # type: ignore[attr-defined]
    del plane
    gc.collect()
    again = await open_native_plane(["127.0.0.1"], port, consent_timeout_s=30)
    await again.close()


def run(code: str) -> Iterator[str]:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    yield from result.stdout.splitlines()


def test_an_interpreter_that_ends_without_closing_does_not_crash() -> None:
    assert list(
        run(
            """
            import asyncio
            from media.plane import IceCredentials
            from media.plane_native import open_native_plane
            async def main():
                global plane
                plane = await open_native_plane(["127.0.0.1", "::1"], 0, consent_timeout_s=30)
                plane.add_peer(IceCredentials("a", "b" * 24, "c", "d" * 24))
                print("open")
            asyncio.run(main())
            """
        )
    ) == ["open"]


def test_without_the_extension_the_import_says_what_to_do() -> None:
    (line,) = run(
        """
        import sys
        sys.modules["media._native"] = None
        try:
            import media.plane_native
        except ImportError as error:
            print(error)
        """
    )
    assert "C compiler" in line
    assert "libssl-dev" in line


def test_every_source_file_is_built_and_sanitized() -> None:
    root = pathlib.Path(__file__).parents[2]
    names = {path.stem for path in (root / "media/native").glob("*.c")}
    sources = {name for name in names if not name.startswith(("sink", "test_"))}
    described = runpy.run_path(str(root / "media/native_build.py"))["SOURCES"]
    assert set(described["media._native"]) == sources
    assert set(described["media._sink"]) == (names - sources - {"test_core"}) | {
        "crypt", "crypt_x86", "srtp"
    }  # fmt: skip
    script = (root / "media/native/sanitize.sh").read_text("utf-8")
    for name in sources:
        assert f"{name}.c" in script


async def test_what_is_still_to_be_sent_is_behind_from_when_it_was_due(
    crowd: Crowd, heard: Recorder
) -> None:
    await crowd.add(300, heard)
    group = crowd.plane.add_group()
    for handle in crowd.handles:
        crowd.plane.join_group(group, handle, 96, {})
    crowd.plane.backlog()
    crowd.plane.send_group(group, rtp(1, b"first"), 1, spread_s=30)
    await asyncio.sleep(0.2)
    slow = crowd.plane.backlog()
    # In time by its own spread, and the threads mostly wait.
    assert slow.late_ms < 150
    assert slow.busy < 0.9
    assert 0 < slow.datagrams < 50
    crowd.plane.send_group(group, rtp(2, b"second"), 2)
    await crowd.collect(600)
    # What is no more to be spread was due at its start.
    assert crowd.plane.backlog().late_ms >= 200


async def test_more_than_can_be_sent_is_shed_and_told(crowd: Crowd, heard: Recorder) -> None:
    await crowd.add(300, heard)
    group = crowd.plane.add_group()
    for handle in crowd.handles:
        crowd.plane.join_group(group, handle, 96, {})
    crowd.plane.backlog()
    for number in range(1, 3000):
        crowd.plane.send_group(group, rtp(number, b"much"), number)
    told = crowd.plane.backlog()
    assert told.shed > 0
    assert told.shed <= crowd.plane.stats().shed <= crowd.plane.stats().send_blocked
    assert told.busy > 0.1
    assert told.late_ms > 0


async def test_what_is_dropped_is_logged_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("media.plane_native._LOG_EVERY_S", 0.01)
    plane = await open_native_plane(["127.0.0.1"], 0, consent_timeout_s=30.0)
    assert isinstance(plane, NativePlane)
    with socket.socket(type=socket.SOCK_DGRAM) as stranger:
        for _ in range(5):
            stranger.sendto(b"\xff junk", ("127.0.0.1", plane.port))
        async with asyncio.timeout(5):
            while "not_webrtc" not in caplog.text:
                await asyncio.sleep(0.01)
            while plane.stats().dropped != {"not_webrtc": 5}:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.03)
        lines = len(caplog.records)
        await asyncio.sleep(0.05)
    # Nothing new, nothing said.
    assert len(caplog.records) == lines
    await plane.close()
