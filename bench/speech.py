"""Clips of speech and what disturbs them, and a WHIP publisher that sends them at their pace.

The publisher is real to the server: ICE, DTLS, SRTP, Opus packets of 20 ms by libopus (32 kbit/s,
VoIP), each with the level of its samples (RFC 6464). Everything random is seeded.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import random
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import av
import numpy as np
from numpy.typing import NDArray

from media.swarm import LEVEL_EXTENSION, SwarmCertificate, SwarmPeer, SwarmPort, TestSpeech

RATE = 48_000
FRAME = RATE // 50
Samples = NDArray[np.float32]
"""Mono, 48 kHz, -1 to 1."""

_VOICED_DB = 35.0
"""Frames of 20 ms within so much of a clip's loudest one are voiced."""


@dataclass(frozen=True)
class Clip:
    """One line of speech. `start` and `end` bound its voiced samples."""

    name: str
    language: str
    text: str
    speech: str
    """"recorded", "synthetic", or "own" where the manifest does not say."""
    sound: Samples
    start: int
    end: int

    @property
    def seconds(self) -> float:
        return len(self.sound) / RATE


def load(folder: pathlib.Path) -> list[Clip]:
    """The clips of a folder's `manifest.json`: `file`, `lang` (or `language`), `text`. Raises
    OSError, ValueError or KeyError where it is not one."""
    clips = []
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        kind = str(entry.get("source", "")).partition(":")[0]
        sound = read_wav(folder / entry["file"])
        start, end = voiced(sound)
        clips.append(
            Clip(
                entry["file"],
                entry.get("lang") or entry["language"],
                entry["text"],
                kind if kind in ("recorded", "synthetic") else "own",
                sound,
                start,
                end,
            )
        )
    return clips


def read_wav(path: pathlib.Path) -> Samples:
    """Any sound file as 48 kHz mono."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    frames += resampler.resample(None)
    sound: Samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    return sound


def loudness(sound: Samples) -> NDArray[np.float64]:
    """Of each frame of 20 ms, in dB of full scale."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    level: NDArray[np.float64] = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    return level


def voiced(sound: Samples) -> tuple[int, int]:
    """Where the first voiced frame begins and the last one ends, in samples."""
    level = loudness(sound)
    (loud,) = np.nonzero(level > level.max() - _VOICED_DB)
    return int(loud[0]) * FRAME, (int(loud[-1]) + 1) * FRAME


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds: float, seed: int, db: float = -30.0, pink: bool = True) -> Samples:
    """Gaussian noise of a loudness in dB of full scale; pink falls by 3 dB an octave."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    if pink:
        spectrum /= np.sqrt(np.maximum(1.0, np.arange(len(spectrum))))
    made = np.fft.irfft(spectrum, count)
    return _as_loud(made, db)


def music(seconds: float, db: float = -22.0) -> Samples:
    """Plucked chords with a bass and a beat: no voice, but pitch, rhythm and pauses."""
    t = np.arange(round(seconds * RATE)) / RATE
    made = np.zeros_like(t)
    chords = ([220.0, 261.6, 329.6], [174.6, 220.0, 261.6], [261.6, 329.6, 392.0], [196, 247, 294])
    rng = np.random.default_rng(7)
    for beat in range(int(seconds * 4)):
        since = np.maximum(0.0, t - beat / 4) * (t >= beat / 4)
        fall = np.exp(-6 * since) * (t >= beat / 4)
        chord = chords[beat // 4 % len(chords)]
        for note in (chord[beat % 3], chord[0] / 2 if beat % 4 == 0 else chord[(beat + 1) % 3]):
            for overtone in (1, 2, 3, 4):
                made += fall * np.sin(2 * np.pi * note * overtone * since) / overtone**1.5
        if beat % 2:
            made += 0.4 * np.exp(-40 * since) * (t >= beat / 4) * rng.standard_normal(len(t))
    return _as_loud(made, db)


def _as_loud(sound: NDArray[np.float64], db: float) -> Samples:
    scaled: Samples = (sound * 10 ** (db / 20) / np.sqrt(np.mean(sound**2))).astype(np.float32)
    return scaled


def disturbed(sound: Samples, speech: Samples, snr_db: float, seed: int) -> Samples:
    """`sound` with pink noise so many dB below the voiced frames of `speech`."""
    level = loudness(speech)
    loud = level[level > level.max() - _VOICED_DB]
    speech_db = 10 * np.log10(np.mean(10 ** (loud / 10)))
    mixed = sound + noise(len(sound) / RATE, seed, float(speech_db) - snr_db)[: len(sound)]
    clipped: Samples = np.clip(mixed, -1.0, 1.0).astype(np.float32)
    return clipped


def encode(sound: Samples) -> list[tuple[bytes, int]]:
    """Opus packets of 20 ms, each with its level in -dBov (RFC 6464)."""
    codec: Any = av.CodecContext.create("libopus", "w")
    codec.sample_rate, codec.layout, codec.format = RATE, "mono", "flt"
    codec.bit_rate, codec.options = 32_000, {"application": "voip", "frame_duration": "20"}
    whole = sound[: len(sound) // FRAME * FRAME]
    packets: list[bytes] = []
    for at in range(0, len(whole), FRAME):
        frame = av.AudioFrame.from_ndarray(whole[None, at : at + FRAME], "flt", "mono")
        frame.sample_rate, frame.pts = RATE, at
        packets += [bytes(packet) for packet in codec.encode(frame)]
    packets += [bytes(packet) for packet in codec.encode(None)]
    levels = [min(127, max(0, round(-db))) for db in loudness(whole)]
    return list(zip(packets, levels, strict=False))


class Publisher:
    """Speaks in a room over WHIP. It sends all the time, silence in between, as a microphone
    does; `say` returns when the sound is sent."""

    def __init__(self, port: SwarmPort, client: int, seed: int = 1) -> None:
        self._peer = SwarmPeer(port, client, SwarmCertificate())
        # Only its SSRC and the lines of its offer.
        self._speech = TestSpeech(client)
        self._sent = 0
        self._rng = random.Random(seed)
        self._queue: list[tuple[bytes, int, float]] = []
        self._quiet = encode(silence(0.2))[-1]
        self._times: list[float] = []
        self._empty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.late_ms = 0.0
        """How late the latest packet of all was sent: the machine is busy."""

    async def start(self, http: aiohttp.ClientSession, room: str, token: str) -> None:
        """Connect and begin to send. Raises ConnectionError, ValueError or TimeoutError."""
        headers = {"Content-Type": "application/sdp", "Authorization": f"Bearer {token}"}
        offer = self._peer.offer("sendonly", 1, self._speech.attributes)
        async with http.post(f"/rooms/{room}/whip", data=offer, headers=headers) as reply:
            answer = await reply.text()
            if reply.status != 201:
                raise ConnectionError(f"WHIP: {reply.status} {answer}")
        await self._peer.connect(answer, sampled=True)
        self._task = asyncio.create_task(self._send_all())

    async def say(self, packets: Sequence[tuple[bytes, int]], loss: float = 0.0) -> list[float]:
        """Send these next, a fraction of them lost. When each was due to leave, unix seconds."""
        self._times = []
        self._empty.clear()
        self._queue = [(payload, level, loss) for payload, level in reversed(packets)]
        await self._empty.wait()
        return self._times

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._peer.close()

    async def _send_all(self) -> None:
        began = time.time()
        while True:
            due = began + self._sent * 0.02
            wait = due - time.time()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                self.late_ms = max(self.late_ms, -1000 * wait)
            if self._queue:
                payload, level, loss = self._queue.pop()
                lost = self._rng.random() < loss
                self._times.append(due)
                if not self._queue:
                    self._empty.set()
            else:
                payload, level, lost = *self._quiet, False
            if not lost:
                self._peer.send_rtp(self._packet(payload, level))
            self._sent += 1

    def _packet(self, payload: bytes, level: int) -> bytes:
        head = struct.pack(
            "!BBHII",
            0x90,
            111,
            self._sent & 0xFFFF,
            self._sent * FRAME & 0xFFFFFFFF,
            self._speech.ssrc,
        )
        voice = 0x80 if level < 60 else 0
        extension = struct.pack("!HHBBxx", 0xBEDE, 1, LEVEL_EXTENSION << 4, voice | level)
        return head + extension + payload
