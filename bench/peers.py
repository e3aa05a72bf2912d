"""The same room on Janus VideoRoom, on Pion, on aiortc's MediaRelay, and here.

    python -m bench.peers [--listeners 150] [--ours 150,3000] [--seconds 10] [--json]

One speaker sends 20 ms packets of one sound; listeners are those of `chatroom swarm`, each with
its own address, keys and DTLS session. For every server: CPU seconds of its process per packet
delivered, CPU of a join, and memory of a listener. A server that is not installed is left out and
named. Janus and Go come from Debian (`janus`, `golang-go`, `golang-github-pion-webrtc.v3-dev`).
Everything stays in a network namespace of the benchmark's own (so it needs root); what the kernel
does to deliver a datagram there counts as the sender's.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from bench.common import ROOT, machine, server, table
from media.swarm import SwarmCertificate, SwarmPeer, SwarmPort, TestSpeech


class Room(Protocol):
    """One room on one server."""

    pid: int

    async def publish(self, peer: SwarmPeer, speech: TestSpeech) -> None: ...

    async def subscribe(self, peer: SwarmPeer) -> None: ...


@dataclass
class WhipRoom:
    """A server that answers offers posted to two paths."""

    http: aiohttp.ClientSession
    pid: int
    whip: str
    whep: str
    sections: int = 1
    headers: dict[str, str] | None = None

    async def _offer(self, url: str, offer: str) -> str:
        headers = {"Content-Type": "application/sdp", **(self.headers or {})}
        async with self.http.post(url, data=offer, headers=headers) as response:
            text = await response.text()
            if response.status != 201:
                raise RuntimeError(f"{url}: {response.status} {text}")
            return text

    async def publish(self, peer: SwarmPeer, speech: TestSpeech) -> None:
        offer = peer.offer("sendonly", 1, speech.attributes)
        await peer.connect(await self._offer(self.whip, offer), sampled=True)

    async def subscribe(self, peer: SwarmPeer) -> None:
        await peer.connect(await self._offer(self.whep, peer.offer("recvonly", self.sections)))


@dataclass
class OurRoom(WhipRoom):
    """Ours; who listens first becomes a participant, which counts as part of the join."""

    participants: str = ""

    async def subscribe(self, peer: SwarmPeer) -> None:
        async with self.http.post(self.participants, json={"name": "Listener"}) as response:
            token = (await response.json())["token"]
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"}
        offer = peer.offer("recvonly", self.sections)
        async with self.http.post(self.whep, data=offer, headers=headers) as response:
            await peer.connect(await response.text())


@dataclass
class JanusRoom:
    """A VideoRoom; its subscribers get Janus's offer and answer it."""

    http: aiohttp.ClientSession
    pid: int
    url: str
    publisher: int = 0

    async def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        body = {**body, "transaction": secrets.token_hex(6)}
        async with self.http.post(self.url + path, json=body) as response:
            reply: dict[str, Any] = await response.json(content_type=None)
        if reply["janus"] == "error":
            raise RuntimeError(f"Janus: {reply['error']}")
        return reply

    async def _handle(self) -> tuple[str, str]:
        session = (await self._call("", {"janus": "create"}))["data"]["id"]
        attach = {"janus": "attach", "plugin": "janus.plugin.videoroom"}
        handle = (await self._call(f"/{session}", attach))["data"]["id"]
        return f"/{session}", f"/{session}/{handle}"

    async def _event(self, session: str) -> dict[str, Any]:
        """The next event of the plugin, by long poll."""
        while True:
            async with self.http.get(self.url + session) as response:
                reply: dict[str, Any] = await response.json(content_type=None)
            if reply["janus"] == "event":
                return reply

    async def _message(
        self,
        session: str,
        handle: str,
        body: dict[str, Any],
        sdp: str | None = None,
        kind: str = "",
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"janus": "message", "body": body}
        if sdp is not None:
            message["jsep"] = {"type": kind, "sdp": sdp}
        reply = await self._call(handle, message)
        return await self._event(session) if reply["janus"] == "ack" else reply

    async def publish(self, peer: SwarmPeer, speech: TestSpeech) -> None:
        session, handle = await self._handle()
        create = {"request": "create", "room": 1, "publishers": 4, "audiocodec": "opus"}
        await self._message(session, handle, create)
        join = {"request": "joinandconfigure", "ptype": "publisher", "room": 1, "audio": True}
        offer = peer.offer("sendonly", 1, speech.attributes)
        event = await self._message(session, handle, join, offer, "offer")
        self.publisher = event["plugindata"]["data"]["id"]
        await peer.connect(event["jsep"]["sdp"], sampled=True)

    async def subscribe(self, peer: SwarmPeer) -> None:
        session, handle = await self._handle()
        join = {"request": "join", "ptype": "subscriber", "room": 1, "feed": self.publisher}
        event = await self._message(session, handle, join)
        if "jsep" not in event:
            raise RuntimeError(f"Janus: {event}")
        start = {"request": "start", "room": 1}
        await self._message(session, handle, start, peer.offer("recvonly", 1), "answer")
        await peer.connect(event["jsep"]["sdp"])


@contextlib.asynccontextmanager
async def process(command: list[str], **options: Any) -> AsyncIterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as running:
        try:
            yield running
        finally:
            running.terminate()


@contextlib.asynccontextmanager
async def ours(http: aiohttp.ClientSession, limit: int) -> AsyncIterator[Room]:
    # Like for like: 20 ms packets, whatever the size of the audience and the state of the machine.
    with server(**SETTINGS, media_max_peers=limit) as (
        url,
        pid,
    ):
        draft = {"title": "Peers", "languages": ["en"]}
        async with http.post(f"{url}/api/rooms", json=draft) as response:
            room = await response.json()
        name = room["room"]["room"]
        path = f"{url}/rooms/{name}"
        headers = {"Authorization": f"Bearer {room['token']}"}
        participants = f"{url}/api/rooms/{name}/participants"
        yield OurRoom(http, pid, f"{path}/whip", f"{path}/whep", 3, headers, participants)


@contextlib.asynccontextmanager
async def pion(http: aiohttp.ClientSession, limit: int) -> AsyncIterator[Room]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "GO111MODULE": "off",
            "GOPATH": "/usr/share/gocode",
            "GOCACHE": f"{folder}/cache",
        }
        binary = f"{folder}/forwarder"
        source = ROOT / "bench" / "peers_pion" / "main.go"
        subprocess.run(["go", "build", "-o", binary, str(source)], env=environment, check=True)
        async with process([binary]) as running:
            assert running.stdout is not None
            url = running.stdout.readline().strip()
            yield WhipRoom(http, running.pid, f"{url}/whip", f"{url}/whep")


@contextlib.asynccontextmanager
async def aiortc_relay(http: aiohttp.ClientSession, limit: int) -> AsyncIterator[Room]:
    async with process([sys.executable, "-m", "bench.peers_aiortc"], cwd=ROOT) as running:
        assert running.stdout is not None
        url = running.stdout.readline().strip()
        yield WhipRoom(http, running.pid, f"{url}/whip", f"{url}/whep")


JANUS_CONFIG = """\
general: {{ debug_level = 2, configs_folder = "{folder}" }}
nat: {{ ice_lite = true, ice_enforce_list = "bench1" }}
media: {{ ipv6 = false }}
plugins: {{ disable = "libjanus_audiobridge.so,libjanus_duktape.so,libjanus_lua.so,libjanus_sip.so,\
libjanus_nosip.so,libjanus_streaming.so,libjanus_recordplay.so" }}
transports: {{ disable = "libjanus_websockets.so,libjanus_mqtt.so,libjanus_nanomsg.so,\
libjanus_pfunix.so" }}
"""


@contextlib.asynccontextmanager
async def janus(http: aiohttp.ClientSession, limit: int) -> AsyncIterator[Room]:
    # Janus sends from an interface's address only and never over loopback, so it gets a network
    # namespace of its own at the other end of a veth pair.
    with tempfile.TemporaryDirectory() as folder, other_host() as (enter, address):
        path = pathlib.Path(folder)
        path.joinpath("janus.jcfg").write_text(JANUS_CONFIG.format(folder=folder))
        path.joinpath("janus.transport.http.jcfg").write_text(
            'general: { http = true, port = 8088, base_path = "/janus" }\n'
        )
        path.joinpath("janus.plugin.videoroom.jcfg").write_text("general: { }\n")
        with open(path / "log", "w") as log:
            running = subprocess.Popen([*enter, "janus", "-F", folder], stdout=log, stderr=log)
            try:
                url = f"http://{address}:8088/janus"
                for _ in range(100):
                    with contextlib.suppress(aiohttp.ClientError):
                        async with http.get(f"{url}/info"):
                            break
                    await asyncio.sleep(0.1)
                yield JanusRoom(http, running.pid, url)
            finally:
                running.terminate()
                running.wait(10)


@contextlib.contextmanager
def other_host() -> Iterator[tuple[list[str], str]]:
    """A second network namespace joined to this one; yields the command prefix that enters it and
    its address. What is sent from 10.78.0.0/16 here reaches it and comes back."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    try:
        time.sleep(0.3)
        enter = ["nsenter", "--target", str(holder.pid), "--net"]
        for command in (
            f"ip link add bench0 type veth peer name bench1 netns {holder.pid}",
            "ip addr add 10.77.0.1/24 dev bench0",
            "ip link set bench0 up",
            "ip route add local 10.78.0.0/16 dev lo",
        ):
            subprocess.run(command.split(), check=True)
        for command in (
            "ip link set lo up",
            "ip addr add 10.77.0.2/24 dev bench1",
            "ip link set bench1 up",
            "ip route add 10.78.0.0/16 via 10.77.0.1",
        ):
            subprocess.run([*enter, *command.split()], check=True)
        time.sleep(1.0)  # until the link has its carrier
        yield enter, "10.77.0.2"
    finally:
        holder.terminate()
        holder.wait()
        subprocess.run(["ip", "route", "del", "local", "10.78.0.0/16", "dev", "lo"], check=False)
        subprocess.run(["ip", "link", "del", "bench0"], check=False, stderr=subprocess.DEVNULL)


def enter_own_network() -> None:
    """Start over in a network namespace of our own, so that no packet can leave it. Needs root."""
    if os.environ.get("CHATROOM_BENCH_NETNS") != "1":
        os.environ["CHATROOM_BENCH_NETNS"] = "1"
        command = ["unshare", "--net", sys.executable, "-m", "bench.peers", *sys.argv[1:]]
        os.execvp("unshare", command)
    for command in (
        "ip link set lo up",
        # aiortc gathers no loopback candidate.
        "ip link add bench2 type veth peer name bench3",
        "ip addr add 10.79.0.1/24 dev bench2",
        "ip link set bench2 up",
        "ip link set bench3 up",
    ):
        subprocess.run(command.split(), check=True)


def cpu_s(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kb(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4


async def measure(name: str, make: Any, listeners: int, seconds: float) -> dict[str, Any]:
    """One row."""
    certificate = SwarmCertificate()
    port = SwarmPort("10.78.0.1" if name == "janus" else "127.2.0.1", listeners + 1)
    timeout = aiohttp.ClientTimeout(total=30)
    talking: asyncio.Task[None] | None = None
    async with aiohttp.ClientSession(timeout=timeout) as http, make(http, listeners + 10) as room:
        try:
            speaker = SwarmPeer(port, listeners, certificate)
            speech = TestSpeech(0)
            await room.publish(speaker, speech)
            talking = asyncio.create_task(_talk(speaker, speech))
            await asyncio.sleep(1.0)
            cpu, memory = cpu_s(room.pid), rss_kb(room.pid)
            idle_from = time.monotonic()
            peers = [SwarmPeer(port, number, certificate) for number in range(listeners)]
            several = asyncio.Semaphore(16)

            async def join(peer: SwarmPeer) -> None:
                async with several:
                    await room.subscribe(peer)

            await asyncio.gather(*map(join, peers))
            join_cpu = cpu_s(room.pid) - cpu
            joined_kb = rss_kb(room.pid) - memory
            joining_s = time.monotonic() - idle_from
            await asyncio.sleep(1.0)
            start, cpu, began = port.totals(), cpu_s(room.pid), time.monotonic()
            await asyncio.sleep(seconds)
            end, spent, elapsed = port.totals(), cpu_s(room.pid) - cpu, time.monotonic() - began
        finally:
            if talking is not None:
                talking.cancel()
            port.close()
    delivered = end["packets"] - start["packets"]
    # While people joined, the server was forwarding too, on average to half of them.
    forwarding = spent / elapsed * joining_s / 2
    return {
        "server": name,
        "listeners": listeners,
        "packets_per_s": round(delivered / elapsed),
        "pps_per_core": round(delivered / spent) if spent else None,
        "cpu_cores": round(spent / elapsed, 3),
        "ms_cpu_per_join": round(1000 * max(0.0, join_cpu - forwarding) / listeners, 2),
        "kb_per_listener": round(joined_kb / listeners, 1),
        "lost": end["lost"] - start["lost"],
    }


async def _talk(peer: SwarmPeer, speech: TestSpeech) -> None:
    beginning = time.monotonic()
    while True:
        peer.send_rtp(speech.packet(20))
        await asyncio.sleep(max(0.0, beginning + speech.sent * 0.02 - time.monotonic()))


SETTINGS = {
    "server_worker": "false",
    "media_pack_60_from": 10_000_000,
    "media_overload_busy": 1.0,
    "media_overload_late_ms": 500,
}
SERVERS = {
    "janus": (janus, "janus"),
    "pion": (pion, "go"),
    "aiortc": (aiortc_relay, "python3"),
}


async def run(args: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for size in args.ours.split(","):
        rows.append(await measure("chatroom", ours, int(size), args.seconds))
    for name, (make, needs) in SERVERS.items():
        if shutil.which(needs) is None:
            print(f"{name}: left out, {needs} is not installed", file=sys.stderr)
            continue
        listeners = min(args.listeners, 40) if name == "aiortc" else args.listeners
        rows.append(await measure(name, make, listeners, args.seconds))
    report: dict[str, Any] = {"machine": machine(), "rows": rows}
    best = max(row["pps_per_core"] or 0 for row in rows if row["server"] == "chatroom")
    for row in rows:
        if row["server"] != "chatroom" and row["pps_per_core"]:
            report[f"ratio_to_{row['server']}"] = round(best / row["pps_per_core"], 1)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listeners", type=int, default=150, help="of the peers' rooms")
    parser.add_argument("--ours", default="150,3000", help="sizes of our room, by comma")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    args = parser.parse_args()
    enter_own_network()
    report = asyncio.run(run(args))
    print(table(report["rows"]))
    for key, value in report.items():
        if key.startswith("ratio"):
            print(f"{key}: {value}")
    if args.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
