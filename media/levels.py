"""Audio levels as speakers' browsers send them (RFC 6464), and how they are smoothed."""

from __future__ import annotations

import math
from dataclasses import dataclass

EXTENSION_URI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
SILENCE_DBOV = 127
UNKNOWN_DBOV = 40
"""What a client that sends no levels is taken for while it sends sound."""
UNKNOWN_MIN_BYTES = 9
"""Opus packets below this are comfort noise or silence."""


class LevelError(ValueError):
    """Bytes that are no audio level."""


@dataclass(frozen=True, slots=True)
class AudioLevel:
    """`dbov` is the level below full scale: 0 is the loudest, 127 digital silence. `voice` is
    the sender's own voice detection."""

    dbov: int
    voice: bool


def parse(data: bytes) -> AudioLevel:
    """Read the extension's data: one byte, or one and padding in two-byte headers."""
    if not 1 <= len(data) <= 2:
        raise LevelError(f"an audio level of {len(data)} bytes")
    return AudioLevel(dbov=data[0] & 0x7F, voice=bool(data[0] & 0x80))


def build(level: AudioLevel) -> bytes:
    """The extension's data."""
    return bytes(((0x80 if level.voice else 0) | level.dbov,))


def assumed(payload: bytes) -> AudioLevel:
    """The level taken for a packet that tells none, by its size."""
    if len(payload) < UNKNOWN_MIN_BYTES:
        return AudioLevel(SILENCE_DBOV, voice=False)
    return AudioLevel(UNKNOWN_DBOV, voice=True)


class Loudness:
    """A source's loudness, 0 (silence) to 127 (full scale) dB, smoothed: it rises within about
    `attack_s` and falls within about `release_s`, whatever the spacing of the packets."""

    __slots__ = ("_at", "_attack", "_release", "_value")

    def __init__(self, attack_s: float = 0.01, release_s: float = 0.25) -> None:
        self._attack = attack_s
        self._release = release_s
        self._value = 0.0
        self._at: float | None = None

    def update(self, level: AudioLevel, now: float) -> float:
        """Take one packet's level; returns the loudness now."""
        target = float(SILENCE_DBOV - level.dbov)
        # A first packet, or one after a pause, stands for one frame of 20 ms.
        elapsed = 0.02 if self._at is None else min(max(now - self._at, 0.0), 1.0)
        constant = self._attack if target > self._value else self._release
        self._value += (target - self._value) * -math.expm1(-elapsed / constant)
        self._at = now
        return self._value
