"""`chatroom swarm`: fill a room with listeners real to the server, and say how they fare.

Speakers publish a sound that can be recognised again (`media.swarm.TestSpeech`); listeners join
by HTTP, ICE and DTLS with its own address and keys; a sample verifies that packets decrypt,
come in order and carry that sound, and measures the delay from the speaker's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from media import opus, rtp
from media.swarm import SwarmCertificate, SwarmPeer, SwarmPort, TestSpeech, recognise
from signaling import swarm_readers

JOIN_ATTEMPTS = 3
SDP = {"Content-Type": "application/sdp"}


class SwarmError(Exception):
    """The run cannot begin or go on; the text is for the operator."""


class SwarmRefused(SwarmError):
    """The server is full and says when to come again (503 with Retry-After)."""


@dataclass
class SwarmPlan:
    """What to do. Rates in joins per second, times in seconds."""

    url: str
    room: str | None = None
    token: str | None = None
    listeners: int = 100
    speakers: int = 1
    websockets: int = 0
    rate: float = 100.0
    duration_s: float = 30.0
    sample: int = 50
    first_address: str = "127.1.0.1"
    captions: list[str] = field(default_factory=list)


def check_target(url: str, own_target: bool) -> None:
    """Load belongs on one's own server: raises SwarmError where the address is not loopback,
    unless the operator says that it is theirs."""
    host = urlsplit(url).hostname
    if host is None:
        raise SwarmError(f"--url {url!r} names no host.")
    try:
        addresses = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise SwarmError(f"--url {url!r}: {error}.") from None
    away = [a for a in addresses if not ipaddress.ip_address(str(a).split("%")[0]).is_loopback]
    if away and not own_target:
        raise SwarmError(
            f"{host} is {away[0]}, not a loopback address. If that server is your own, "
            "say so with --own-target."
        )


def quantiles(values: list[float], *points: float) -> list[float | None]:
    """The values at the given fractions; None where there are no values."""
    ordered = sorted(values)
    if not ordered:
        return [None for _ in points]
    return [ordered[min(len(ordered) - 1, int(p * len(ordered)))] for p in points]


@dataclass
class SampledListener:
    """Verifies what one listener hears."""

    delays_ms: list[float] = field(default_factory=list)
    """From sending to arrival, of the newest frame of each packet: without packing."""
    packed_delays_ms: list[float] = field(default_factory=list)
    """The same of the oldest frame: with packing."""
    frames: int = 0
    packets: int = 0
    wrong: int = 0
    out_of_order: int = 0
    recording: bool = False
    _last: dict[tuple[int, int], int] = field(default_factory=dict)

    def packet(self, packet: bytes, at_ns: int) -> None:
        if not self.recording:
            return
        self.packets += 1
        try:
            parsed = rtp.parse(packet)
            frames = opus.split(parsed.payload)
        except ValueError:
            self.wrong += 1
            return
        heard = [recognise(frame) for frame in frames]
        whole = [frame for frame in heard if frame is not None]
        self.wrong += len(heard) - len(whole)
        for frame in whole:
            self.frames += 1
            key = (parsed.ssrc, frame.speaker)
            if frame.number <= self._last.get(key, -1):
                self.out_of_order += 1
            self._last[key] = frame.number
        if whole:
            self.delays_ms.append((at_ns - whole[-1].sent_ns) / 1e6)
            self.packed_delays_ms.append((at_ns - whole[0].sent_ns) / 1e6)


class Swarm:
    """One run against one server."""

    def __init__(self, plan: SwarmPlan) -> None:
        self.plan = plan
        self.certificate = SwarmCertificate()
        self.peers: list[SwarmPeer] = []
        self.samples: list[SampledListener] = []
        self.failures: dict[str, int] = {}
        self.refused = 0
        self.join_ms: list[float] = []
        self.readers: list[swarm_readers.Reader] = []
        self.caption_ms: list[float] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> dict[str, Any]:
        """The report, as `--json` prints it. Raises SwarmError."""
        plan = self.plan
        connector = aiohttp.TCPConnector(limit=64)
        timeout = aiohttp.ClientTimeout(total=30)
        self.port = SwarmPort(plan.first_address, plan.listeners + plan.speakers)
        async with aiohttp.ClientSession(plan.url, connector=connector, timeout=timeout) as http:
            self.http = http
            try:
                await self._find_room()
                await self._speak()
                before = await self.metrics()
                started = time.monotonic()
                await self._join_all()
                joined = time.monotonic()
                after = await self.metrics()
                await asyncio.sleep(2.0)
                report = await self._measure()
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                await self._leave()
                self.port.close()
        report["joins_per_s"] = round(len(self.peers) / max(joined - started, 1e-9), 1)
        report["join_ms_p50"], report["join_ms_p95"] = quantiles(self.join_ms, 0.5, 0.95)
        report["refused"] = self.refused
        report["failures"] = self.failures
        if before and after and self.peers:
            # While people joined, sound went on average to half of them.
            forwarding = report.get("server_cpu_cores", 0.0) * (joined - started) / 2
            cpu = max(0.0, after["cpu_s"] - before["cpu_s"] - forwarding)
            memory = after["rss_bytes"] - before["rss_bytes"]
            report["server_ms_cpu_per_join"] = round(1000 * cpu / len(self.peers), 3)
            report["server_kb_per_listener"] = round(memory / 1024 / len(self.peers), 1)
        return report

    # ------------------------------------------------------------------ the server's HTTP

    async def post(self, path: str, body: Any, token: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.post(path, json=body, headers=headers) as response:
            if response.status >= 400:
                raise SwarmError(f"POST {path}: {response.status} {await response.text()}")
            return await response.json()

    async def metrics(self) -> dict[str, float]:
        """CPU seconds and resident bytes of the server, as it says; empty where it does not."""
        async with self.http.get("/metrics") as response:
            text = await response.text() if response.status == 200 else ""
        found = {}
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name == "process_cpu_seconds_total":
                found["cpu_s"] = float(value)
            elif name == "process_resident_memory_bytes":
                found["rss_bytes"] = float(value)
        return found if len(found) == 2 else {}

    async def _find_room(self) -> None:
        if self.plan.room is None:
            draft = {"title": "Swarm", "languages": ["en"], "host_name": "Swarm"}
            created = await self.post("/api/rooms", draft)
            self.room, self.host_token = created["room"]["room"], created["token"]
            return
        self.room, self.host_token = self.plan.room, self.plan.token
        if self.plan.speakers and self.host_token is None:
            raise SwarmError("Speakers need the host's token of the room: give --token.")

    async def _participant(self, name: str) -> tuple[str, str]:
        body: dict[str, Any] = {"name": name}
        if self.plan.captions:
            body["captions"] = self.plan.captions[len(self.join_ms) % len(self.plan.captions)]
        joined = await self.post(f"/api/rooms/{self.room}/participants", body)
        return joined["participant"], joined["token"]

    async def _offer(self, kind: str, offer: str, token: str) -> str:
        headers = {**SDP, "Authorization": f"Bearer {token}"}
        async with self.http.post(
            f"/rooms/{self.room}/{kind}", data=offer, headers=headers
        ) as response:
            text = await response.text()
            if response.status == 503 and "Retry-After" in response.headers:
                raise SwarmRefused(f"{kind}: {text}")
            if response.status != 201:
                raise SwarmError(f"{kind}: {response.status} {text}")
            return text

    # --------------------------------------------------------------------------- speakers

    async def _speak(self) -> None:
        command = f"/api/rooms/{self.room}/commands"
        for number in range(self.plan.speakers):
            assert self.host_token is not None
            token = self.host_token
            if number:
                participant, token = await self._participant(f"Speaker {number}")
                await self.post(command, {"type": "raise_hand", "speaks": "en"}, token)
                invite = {"type": "invite", "participant": participant}
                await self.post(command, invite, self.host_token)
                await self.post(command, {"type": "answer_invitation", "accept": True}, token)
            peer = SwarmPeer(self.port, self.plan.listeners + number, self.certificate)
            speech = TestSpeech(number)
            offer = peer.offer("sendonly", 1, speech.attributes)
            await peer.connect(await self._offer("whip", offer, token), sampled=True)
            self._tasks.append(asyncio.create_task(self._talk(peer, speech)))

    async def _talk(self, peer: SwarmPeer, speech: TestSpeech) -> None:
        """One packet every 20 ms; late ones are sent at once, so that none is left out."""
        beginning = time.monotonic()
        while True:
            peer.send_rtp(speech.packet(level_dbov=20 + speech.speaker))
            await asyncio.sleep(max(0.0, beginning + speech.sent * 0.02 - time.monotonic()))

    # -------------------------------------------------------------------------- listeners

    async def _join_all(self) -> None:
        plan = self.plan
        pending: set[asyncio.Task[None]] = set()
        started = time.monotonic()
        for number in range(plan.listeners):
            await asyncio.sleep(max(0.0, started + number / plan.rate - time.monotonic()))
            while len(pending) >= 64:
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            pending.add(asyncio.create_task(self._join(number)))
            if number % 20 == 0:
                self._progress(f"joined {len(self.peers)}/{plan.listeners}")
        if pending:
            await asyncio.wait(pending)
        self._progress(f"joined {len(self.peers)}/{plan.listeners}\n")
        if not self.peers:
            raise SwarmError(f"Nobody could join: {self.failures}")
        await self._read()

    async def _join(self, number: int) -> None:
        started = time.monotonic()
        sampled = number % max(1, self.plan.listeners // max(1, self.plan.sample)) == 0
        for attempt in range(JOIN_ATTEMPTS):
            peer = SwarmPeer(self.port, number, self.certificate)
            try:
                _, token = await self._participant(f"Listener {number}")
                if sampled:
                    sample = SampledListener()
                    peer.on_rtp = sample.packet
                    self.port.sample(number)
                answer = await self._offer("whep", peer.offer(), token)
                await peer.connect(answer, sampled=sampled)
            except SwarmRefused:
                # As somebody who goes elsewhere: coming again would hide that the room is full.
                peer.close()
                self.refused += 1
                return
            except (SwarmError, ValueError, OSError, TimeoutError, aiohttp.ClientError) as error:
                peer.close()
                self._failed(error)
                await asyncio.sleep(0.5 * (attempt + 1))
                continue
            if sampled:
                self.samples.append(sample)
            self.peers.append(peer)
            self.join_ms.append(1000 * (time.monotonic() - started))
            return

    async def _read(self) -> None:
        """Open the readers, one in twenty of them measured."""
        plan = self.plan
        several = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            language = plan.captions[number % len(plan.captions)]
            async with several:
                try:
                    _, token = await self._participant(f"Reader {number}")
                    reader = await swarm_readers.connect(plan.url, self.room, token, language)
                except (SwarmError, OSError, TimeoutError, aiohttp.ClientError) as error:
                    self._failed(error)
                    return
            if number % 20 == 0:
                reader.delays_ms = self.caption_ms
            self.readers.append(reader)
            self._progress(f"reading {len(self.readers)}/{plan.websockets}")

        await asyncio.gather(*(one(number) for number in range(plan.websockets)))

    def _failed(self, error: Exception) -> None:
        cause = f"{type(error).__name__}: {error}"[:120]
        self.failures[cause] = self.failures.get(cause, 0) + 1

    async def _leave(self) -> None:
        for peer in self.peers:
            peer.close()
        for reader in self.readers:
            if reader.transport is not None:
                reader.transport.abort()

    # ------------------------------------------------------------------------ measurement

    async def _measure(self) -> dict[str, Any]:
        plan = self.plan
        self.port.reset()
        self.caption_ms.clear()
        captions = sum(reader.captions for reader in self.readers)
        start = self.port.totals()
        before, began = await self.metrics(), time.monotonic()
        for sample in self.samples:
            sample.recording = True
        while (elapsed := time.monotonic() - began) < plan.duration_s:
            self._progress(f"measuring {elapsed:.0f}/{plan.duration_s:.0f} s")
            await asyncio.sleep(min(0.5, plan.duration_s - elapsed))
        for sample in self.samples:
            sample.recording = False
        self._progress("\n")
        elapsed = time.monotonic() - began
        after, end = await self.metrics(), self.port.totals()
        counts = [self.port.read(peer.client) for peer in self.peers]
        gaps = [c["longest_gap_ns"] / 1e6 for c in counts]
        delays = list(_all(s.delays_ms for s in self.samples))
        packed = list(_all(s.packed_delays_ms for s in self.samples))
        received = end["packets"] - start["packets"]
        report: dict[str, Any] = {
            "listeners": len(self.peers),
            "speakers": plan.speakers,
            "seconds": round(elapsed, 1),
            "packets": received,
            "packets_per_s": round(received / elapsed),
            "packets_lost": sum(c["lost"] for c in counts),
            "duplicates": sum(c["duplicates"] for c in counts),
            "reordered": sum(c["reordered"] for c in counts),
            "dropped_by_our_own_socket": end["overflow"] - start["overflow"],
            "silent_listeners": sum(c["packets"] == 0 for c in counts),
            "longest_gap_ms": round(max(gaps, default=0.0), 1),
            "sampled": len(self.samples),
            "sampled_frames": sum(s.frames for s in self.samples),
            "sampled_wrong": sum(s.wrong for s in self.samples),
            "sampled_out_of_order": sum(s.out_of_order for s in self.samples),
            "sampled_undecryptable": sum(p.undecryptable for p in self.peers),
        }
        names = ("delay_ms_p50", "delay_ms_p99", "delay_ms_max")
        report.update(zip(names, quantiles(delays, 0.5, 0.99, 1.0), strict=True))
        report["delay_with_packing_ms_p99"] = quantiles(packed, 0.99)[0]
        frames = sum(s.frames for s in self.samples)
        packets = sum(s.packets for s in self.samples)
        report["packing_ms"] = round(20 * frames / packets) if packets else None
        if self.readers:
            report["readers"] = len(self.readers)
            report["captions_received"] = sum(r.captions for r in self.readers) - captions
            names = ("caption_ms_p50", "caption_ms_p99", "caption_ms_max")
            values = quantiles(self.caption_ms, 0.5, 0.99, 1.0)
            report.update(zip(names, values, strict=True))
        if before and after:
            report["server_cpu_cores"] = round((after["cpu_s"] - before["cpu_s"]) / elapsed, 3)
            report["server_rss_mb"] = round(after["rss_bytes"] / 1048576, 1)
        return report

    def _progress(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _all(lists: Iterable[list[float]]) -> Iterable[float]:
    for one in lists:
        yield from one


def add_parser(subparsers: Any, help: str) -> None:
    """Declare `chatroom swarm` on the command line."""
    parser: argparse.ArgumentParser = subparsers.add_parser("swarm", help=help)
    add = parser.add_argument
    add("--url", default="http://127.0.0.1:8080", help="the server (default %(default)s)")
    add("--room", help="the room's id; without it a new room is made")
    add("--token", help="the host's token of --room, for speakers")
    add("--listeners", type=int, default=100, metavar="N")
    add("--speakers", type=int, default=1, metavar="K")
    add("--websockets", type=int, default=0, metavar="M", help="caption readers beside them")
    add("--rate", type=float, default=100.0, metavar="JOINS_PER_S")
    add("--duration", type=float, default=30.0, metavar="S", help="of the measurement, seconds")
    add("--sample", type=int, default=50, metavar="N", help="listeners that verify the sound")
    add("--captions", default="en", help="languages of the readers, comma-separated")
    add("--first-address", default="127.1.0.1", help="of the listeners; each has its own")
    add("--own-target", action="store_true", help="the server is mine, though not on loopback")
    add("--json", action="store_true", help="print the report as JSON on one line")


def run(args: argparse.Namespace) -> int:
    """The command; returns the exit status."""
    plan = SwarmPlan(
        url=args.url,
        room=args.room,
        token=args.token,
        listeners=args.listeners,
        speakers=args.speakers,
        websockets=args.websockets,
        rate=args.rate,
        duration_s=args.duration,
        sample=args.sample,
        first_address=args.first_address,
        captions=[language for language in args.captions.split(",") if language],
    )
    try:
        check_target(plan.url, args.own_target)
        report = asyncio.run(_run(plan))
    except (SwarmError, aiohttp.ClientError, OSError) as error:
        print(f"chatroom swarm: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(report))
        return 0
    for key, value in report.items():
        print(f"{key:30} {round(value, 2) if isinstance(value, float) else value}")
    return 0


async def _run(plan: SwarmPlan) -> dict[str, Any]:
    return await Swarm(plan).run()
