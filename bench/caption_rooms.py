"""Rooms where clips are said and their captions read, for `bench.captions`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

from bench import speech
from bench.speech import FRAME, RATE, Clip, Publisher
from media.swarm import SwarmPort

GAP_S = 1.2
"""Between two clips, more than the silence that ends an utterance."""
BEFORE_S = 0.16
"""Of it, before the clip."""
LEAD_S = 3.0
"""Of silence, in which a worker finds the room."""
SETTLE_S = 2.0
LATE_S = 20.0
"""How long after the last clip its captions are waited for."""
INVENT_S = 5.0
SNR_DB = 10.0
LOSS = 0.05
CLEAN, NOISE, LOST = "clean", "noise_10db", "loss_5"


@dataclass(frozen=True)
class Take:
    """Something to send: a clip under a condition, or (`clip` None) something without words."""

    condition: str
    language: str
    clip: Clip | None
    packets: list[tuple[bytes, int]]
    first: int
    """The packet with the first voiced sample."""
    last: int
    """The one with the last voiced sample."""

    @classmethod
    def of(cls, condition: str, clip: Clip, number: int) -> Take:
        """The clip cut to its voiced part, with pauses around it."""
        voice = clip.sound[clip.start : clip.end]
        pauses = speech.silence(BEFORE_S), speech.silence(GAP_S - BEFORE_S)
        sound = np.concatenate([pauses[0], voice, pauses[1]])
        if condition == NOISE:
            sound = speech.disturbed(sound, voice, SNR_DB, seed=number)
        first = round(BEFORE_S * RATE) // FRAME
        last = first + len(voice) // FRAME - 1
        return cls(condition, clip.language, clip, speech.encode(sound), first, last)

    @classmethod
    def wordless(cls, name: str, language: str, sound: speech.Samples) -> Take:
        packets = speech.encode(np.append(sound, speech.silence(GAP_S)).astype(np.float32))
        return cls(name, language, None, packets, 0, len(sound) // FRAME - 1)


@dataclass
class Line:
    """One utterance as a reader saw it: every text with its arrival, unix seconds."""

    start: float
    end: float
    shown: list[tuple[float, str]] = field(default_factory=list)
    final: tuple[float, str] | None = None
    translations: dict[str, float] = field(default_factory=dict)
    """Target to the arrival of the final's translation."""
    untranslated: set[str] = field(default_factory=set)
    """Targets that there will be none in."""

    def take(self, at: float, caption: dict[str, Any], created: float) -> None:
        self.start = created + caption["start_ms"] / 1000
        self.end = max(self.end, created + caption["end_ms"] / 1000)
        text = caption["text"]
        if not self.shown or self.shown[-1][1] != text:
            self.shown.append((at, text))
        if caption["final"]:
            self.final = self.final or (at, text)
            for target in caption["translations"]:
                self.translations.setdefault(target, at)
            self.untranslated |= set(caption["untranslated"])

    def settled(self, targets: Iterable[str]) -> bool:
        """Whether nothing more is to come."""
        if self.final is None:
            return False
        done = self.translations.keys() | self.untranslated
        return not self.final[1] or done.issuperset(targets)

    def intervals_ms(self) -> list[float]:
        """Between one text and the next."""
        times = [at for at, _ in self.shown]
        return [1000 * (b - a) for a, b in itertools.pairwise(times)]


@dataclass
class Said:
    """A take that was sent."""

    take: Take
    start: float
    """When its first voiced sample was sent, unix seconds."""
    end: float
    """When the last one was."""
    lines: list[Line] = field(default_factory=list)

    @property
    def heard(self) -> str:
        return " ".join(line.final[1] for line in self.lines if line.final)


class Room:
    """A room where one language is spoken, its speaker and a reader for each target."""

    def __init__(self, http: aiohttp.ClientSession, language: str, targets: Sequence[str]) -> None:
        self._http = http
        self.language = language
        self.targets = targets
        self.lines: dict[str, Line] = {}
        self.said: list[Said] = []
        self._readers: list[asyncio.Task[None]] = []

    async def open(self, publisher: Publisher) -> None:
        draft = {"title": "Captions", "languages": [self.language], "host_name": "Speaker"}
        async with self._http.post("/api/rooms", json=draft) as reply:
            created = await reply.json()
        self._created = created["room"]["created_at"]
        room, self._publisher = created["room"]["room"], publisher
        await publisher.start(self._http, room, created["token"])
        for target in self.targets or [self.language]:
            self._readers.append(asyncio.create_task(self._read(room, target)))
        await asyncio.sleep(LEAD_S)

    async def _read(self, room: str, target: str) -> None:
        body = {"name": "Reader", "captions": target}
        async with self._http.post(f"/api/rooms/{room}/participants", json=body) as reply:
            token = (await reply.json())["token"]
        async with self._http.ws_connect(f"/api/rooms/{room}/ws") as socket:
            await socket.send_json({"type": "hello", "token": token, "captions": target})
            async for message in socket:
                at = time.time()
                told = json.loads(message.data)["m"]
                if told["type"] == "caption":
                    caption = told["caption"]
                    line = self.lines.setdefault(caption["utterance"], Line(at, 0.0))
                    line.take(at, caption, self._created)

    async def say(self, take: Take) -> None:
        lost = LOSS if take.condition == LOST else 0.0
        times = await self._publisher.say(take.packets, lost)
        last = min(take.last, len(times) - 1)
        self.said.append(Said(take, times[take.first], times[last]))

    async def steady(
        self, packets: Sequence[tuple[bytes, int]], worker: int
    ) -> tuple[float, list[float]]:
        """CPU seconds of the worker for a second of speech without pauses, and the times between
        updates meanwhile, ms: a worker that has no time for tentative hearings costs less."""
        before, known = cpu_s(worker), set(self.lines)
        await self._publisher.say(packets)
        await asyncio.sleep(SETTLE_S)
        between: list[float] = []
        for utterance, line in self.lines.items():
            if utterance not in known:
                between += line.intervals_ms()
        return (cpu_s(worker) - before) / (0.02 * len(packets)), between

    async def close(self) -> None:
        deadline = time.monotonic() + LATE_S
        await asyncio.sleep(SETTLE_S)
        while not self._settled() and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        for task in self._readers:
            task.cancel()
        outcomes = await asyncio.gather(*self._readers, return_exceptions=True)
        await self._publisher.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        self._assign()

    def _settled(self) -> bool:
        self._assign()
        return all(
            said.lines and all(line.settled(self.targets) for line in said.lines)
            for said in self.said
            if said.take.clip is not None
        )

    def _assign(self) -> None:
        """Each line belongs to what it overlaps the most in time."""
        for said in self.said:
            said.lines.clear()
        for line in sorted(self.lines.values(), key=lambda each: each.start):
            overlaps = [
                min(line.end, said.end + 0.3) - max(line.start, said.start - 0.3)
                for said in self.said
            ]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] > 0:
                self.said[best].lines.append(line)


async def measure(
    url: str,
    pid: int,
    takes: Sequence[Take],
    steady: tuple[str, Sequence[tuple[bytes, int]]],
    pairs: Iterable[tuple[str, str]],
) -> dict[str, Any]:
    """Say everything to the server at `url`, a room for each language, one after the other.
    `steady` is a language and speech without pauses in it."""
    languages = list(dict.fromkeys(take.language for take in takes))
    rooms: list[Room] = []
    cpu = late_ms = 0.0
    between: list[float] = []
    async with aiohttp.ClientSession(url) as http:
        await ready(http)
        worker = worker_of(pid)
        began, busy, own = time.monotonic(), busy_s(), own_s(pid)
        port = SwarmPort("127.1.0.1", len(languages))
        try:
            for number, language in enumerate(languages):
                room = Room(http, language, [b for a, b in pairs if a == language])
                publisher = Publisher(port, number)
                await room.open(publisher)
                for take in takes:
                    if take.language == language:
                        name = take.clip.name if take.clip else ""
                        progress(f"{language}: {take.condition} {name}")
                        await room.say(take)
                if language == steady[0]:
                    progress("one speaker without pauses")
                    cpu, between = await room.steady(steady[1], worker)
                await room.close()
                rooms.append(room)
                late_ms = max(late_ms, publisher.late_ms)
        finally:
            port.close()
        progress("")
        elsewhere = busy_s() - busy - (own_s(pid) - own)
        return {
            "said": [said for room in rooms for said in room.said],
            "cpu": cpu,
            "steady_between_ms": between,
            "cores_elsewhere": round(max(0.0, elsewhere / (time.monotonic() - began)), 2),
            "worker_mb": resident_mb(worker),
            "sent_late_ms": round(late_ms, 1),
        }


async def ready(http: aiohttp.ClientSession, timeout_s: float = 60.0) -> None:
    """Wait for the models. Raises RuntimeError with what the server says."""
    deadline = time.monotonic() + timeout_s
    while True:
        async with http.get("/api/languages") as reply:
            status = (await reply.json())["captions_status"]
        if status["state"] == "ready":
            return
        if status["state"] == "failed" or time.monotonic() > deadline:
            raise RuntimeError(f"No captions: {status['state']}. {status['detail']}")
        await asyncio.sleep(0.2)


def cpu_s(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_s() -> float:
    """CPU seconds of the whole machine since it started, stolen ones with them."""
    user, nice, system, _, _, irq, soft, steal, *_ = map(
        int, pathlib.Path("/proc/stat").read_text().split()[1:11]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def own_s(server_pid: int) -> float:
    """CPU seconds of the server, its children and this process."""
    total = cpu_s(server_pid) + cpu_s(os.getpid())
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == server_pid:
                total += cpu_s(int(stat.parent.name))
    return total


def resident_mb(pid: int) -> float:
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def worker_of(server_pid: int) -> int:
    """The server's child that captions. Raises RuntimeError where there is none."""
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            command = stat.with_name("cmdline").read_bytes()
            if parent == server_pid and b"\0worker\0" in command:
                return int(stat.parent.name)
    raise RuntimeError("The server has no caption worker.")


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
