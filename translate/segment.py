"""Cut a speaker's sound into utterances, by the probability of voice in windows of 32 ms.

A state machine without a clock of its own: it counts windows, and is told the room's time of
the sound that it gets. The probabilities come from a `VoiceActivity` (`translate.voice`).

::

    silence ──voice──▶ candidate ──min_speech of voice──▶ open ──end_silence──▶ silence
                           └──silence first──▶ silence      └──too long: cut at a pause──▶ open
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from translate.decode import RATE, Samples
from translate.settings import CaptionSettings

WINDOW = 512
"""Samples of a window."""
WINDOW_MS = WINDOW * 1000 // RATE

_CANDIDATE_SILENCE = 7
"""Windows without voice after which a candidate was nothing."""
_PAUSE = 7
"""Windows of silence in which the utterance may well have ended."""
_LONG = 2 / 3
"""From this share of the longest utterance on, half the silence ends it."""
_LOOK_BACK = 1 / 3
"""Share of a too long utterance in whose end a pause is looked for."""


class VoiceActivity(Protocol):
    """How likely there is voice; keeps state from window to window."""

    def probability(self, window: Samples) -> float:
        """Of the next `WINDOW` samples: 0 to 1."""
        ...

    def reset(self) -> None:
        """The next window follows upon nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Started:
    """An utterance began; times are the room's clock, ms."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An utterance is over. `samples` begin at `start_ms` and may go beyond `end_ms`, which is
    the end of the last voice. `why`: a pause, the longest length (another one begins at once),
    or the speaker's sound stopped."""

    start_ms: int
    end_ms: int
    samples: Samples
    why: Literal["pause", "length", "stopped"]


SegmentEvent = Started | Ended


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings in windows."""

    start: float
    end: float
    end_silence: int
    min_speech: int
    pre_roll: int
    longest: int

    @classmethod
    def of(cls, settings: CaptionSettings) -> Rules:
        return cls(
            start=settings.start_threshold,
            end=min(settings.end_threshold, settings.start_threshold),
            end_silence=max(1, round(settings.end_silence_ms / WINDOW_MS)),
            min_speech=max(1, round(settings.min_speech_ms / WINDOW_MS)),
            pre_roll=round(settings.pre_roll_ms / WINDOW_MS),
            longest=max(16, round(settings.max_utterance_s * 1000 / WINDOW_MS)),
        )


class Segmenter:
    """One speaker's. Bounded: holds at most one utterance of the longest length."""

    def __init__(self, rules: Rules, voice: VoiceActivity) -> None:
        self._rules = rules
        self._voice = voice
        self._rest = np.zeros(0, np.float32)
        self._before: deque[Samples] = deque(maxlen=rules.pre_roll)
        self._windows: list[Samples] = []
        self._chances: list[float] = []
        self._start_ms = 0
        self._voiced = 0
        """Windows with voice in this utterance."""
        self._silent = 0
        """Windows since the last one with voice."""
        self._speaking = False
        self._open = False

    @property
    def open(self) -> bool:
        """Whether an utterance is going on: between `Started` and `Ended`."""
        return self._open

    @property
    def pausing(self) -> bool:
        """Whether the speaker has paused in the utterance that is going on: if this is its
        end, all its words have been said."""
        return self._open and self._silent >= _PAUSE

    @property
    def start_ms(self) -> int:
        """Start of the utterance that is going on."""
        return self._start_ms

    @property
    def end_ms(self) -> int:
        """End of the last voice so far in the utterance that is going on."""
        return self._start_ms + (len(self._windows) - self._silent) * WINDOW_MS

    def sound(self) -> Samples:
        """The utterance that is going on, so far; empty where there is none."""
        return _joined(self._windows) if self._open else np.zeros(0, np.float32)

    def push(self, samples: Samples, start_ms: int) -> list[SegmentEvent]:
        """More sound, whose first sample was at `start_ms` of the room's clock."""
        at_ms = start_ms - len(self._rest) * 1000 // RATE
        sound = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(sound) // WINDOW * WINDOW
        events: list[SegmentEvent] = []
        for offset in range(0, whole, WINDOW):
            window = sound[offset : offset + WINDOW]
            chance = self._voice.probability(window)
            events += self.step(window, chance, max(0, at_ms + offset * 1000 // RATE))
        self._rest = sound[whole:]
        return events

    def stop(self) -> list[SegmentEvent]:
        """The sound stops here (muted, left, connection lost, language changed); what comes
        next follows upon nothing."""
        events: list[SegmentEvent] = [self._close("stopped")] if self._open else []
        self._forget()
        self._before.clear()
        self._rest = np.zeros(0, np.float32)
        self._voice.reset()
        return events

    def step(self, window: Samples, chance: float, at_ms: int) -> list[SegmentEvent]:
        """One window that began at `at_ms` and holds voice with this chance."""
        rules = self._rules
        self._speaking = chance >= (rules.end if self._speaking else rules.start)
        if not self._windows:
            if not self._speaking:
                self._before.append(window)
                return []
            self._windows = list(self._before)
            self._chances = [0.0] * len(self._windows)
            self._start_ms = max(0, at_ms - len(self._windows) * WINDOW_MS)
            self._before.clear()
        self._windows.append(window)
        self._chances.append(chance)
        if self._speaking:
            self._voiced += 1
            self._silent = 0
        else:
            self._silent += 1
        events: list[SegmentEvent] = []
        if not self._open:
            if self._voiced >= rules.min_speech:
                self._open = True
                events.append(Started(self._start_ms))
            elif self._silent >= _CANDIDATE_SILENCE:
                self._to_silence()
            return events
        length = len(self._windows)
        enough = rules.end_silence
        if length >= rules.longest * _LONG:
            enough = max(1, enough // 2)
        if self._silent >= enough:
            events.append(self._close("pause"))
            self._to_silence()
        elif length >= rules.longest:
            events += self._cut()
        return events

    def _close(self, why: Literal["pause", "length", "stopped"]) -> Ended:
        return Ended(self._start_ms, self.end_ms, _joined(self._windows), why)

    def _cut(self) -> list[SegmentEvent]:
        """End a too long utterance at its quietest recent window and begin the next there."""
        length = len(self._windows)
        first = length - round(length * _LOOK_BACK)
        chances = np.asarray(self._chances)
        smooth = np.convolve(chances, np.ones(3) / 3, mode="same")
        recent = smooth[first : length - 1]
        # The latest of the quietest: the longer piece gives the recogniser more to go by.
        at = first + len(recent) - 1 - int(np.argmin(recent[::-1])) + 1
        head, tail = self._windows[:at], self._windows[at:]
        start_ms = self._start_ms
        cut_ms = start_ms + at * WINDOW_MS
        voiced = [
            index for index, chance in enumerate(self._chances[:at]) if self._is_voice(chance)
        ]
        end_ms = start_ms + (voiced[-1] + 1 if voiced else at) * WINDOW_MS
        self._windows, self._chances = tail, self._chances[at:]
        self._start_ms = cut_ms
        self._voiced = sum(self._is_voice(chance) for chance in self._chances)
        self._silent = min(self._silent, len(tail))
        return [Ended(start_ms, end_ms, _joined(head), "length"), Started(cut_ms)]

    def _is_voice(self, chance: float) -> bool:
        return chance >= self._rules.end

    def _to_silence(self) -> None:
        # What was silence behind one utterance may be the lead-in of the next.
        keep = min(self._silent, self._before.maxlen or 0)
        self._before.extend(self._windows[len(self._windows) - keep :])
        self._forget()

    def _forget(self) -> None:
        self._windows, self._chances = [], []
        self._voiced = self._silent = 0
        self._open = self._speaking = False


def _joined(windows: list[Samples]) -> Samples:
    return np.concatenate(windows) if windows else np.zeros(0, np.float32)
