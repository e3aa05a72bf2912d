"""Recorded speech for a browser's microphone, and how well words were recognised."""

from __future__ import annotations

import json
import re
import wave
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

SPEECH = Path(__file__).resolve().parents[1] / "data" / "speech"
RATE = 48_000


def load(name: str) -> np.ndarray:
    """A clip as mono int16 at 48 kHz."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(str(SPEECH / name)) as container:
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def text_of(name: str) -> str:
    """What is said in a clip."""
    manifest = json.loads((SPEECH / "manifest.json").read_text())
    return next(str(each["text"]) for each in manifest if each["file"] == name)


def write_wav(path: Path, parts: Sequence[str | float]) -> float:
    """Clips, and pauses in seconds, as one 48 kHz WAV. Returns its length in seconds."""
    sound = np.concatenate(
        [
            load(part) if isinstance(part, str) else np.zeros(int(part * RATE), np.int16)
            for part in parts
        ]
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())
    return len(sound) / RATE


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; hyphens divide."""
    return re.findall(r"[a-zà-ÿ']+", text.lower().replace("-", " "))


def best_wer(reference: str, heard: str) -> float:
    """Word error rate of the reference against the part of what was heard that fits it best: a
    looped recording is heard from anywhere and over and over."""
    wanted, got = words(reference), words(heard)
    # One row of the edit distance at a time; leaving out words of `got` before is free.
    row = [0] * (len(got) + 1)
    for i, word in enumerate(wanted, 1):
        before, row = row, [i] + [0] * len(got)
        for j, other in enumerate(got, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other))
    return min(row) / len(wanted)
