"""What to recognise next, so that words are never more late than they must be. Pure.

Finals first, the oldest first. Tentative hearings only when no final waits, at most every
`interval_ms` per speaker, never queued: whoever waited longest is heard with the newest sound.
Who pauses is heard at once: that may have been all, and then it needs no final.
Under load they come less often, then not at all; and finals that waited too long are given up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SMOOTH = 0.3
_PARTIAL_SHARE = 0.5
"""Of the recogniser's time, at most, for tentative hearings."""
_OVERLOADED_MS = 1_500
"""When finals were this late lately there are no tentative hearings."""
_REMEMBER_MS = 5_000
"""For so long after it a final's lateness counts as how far behind we are."""


@dataclass(frozen=True, slots=True)
class Turn(Generic[K]):
    """Hear this now."""

    key: K
    final: bool


class Agenda(Generic[K]):
    """Keys name utterances. All times are ms of one clock that never goes back."""

    def __init__(self, interval_ms: int, stale_ms: int, *, partials: bool = True) -> None:
        self._interval_ms = interval_ms
        self._stale_ms = stale_ms
        self._partials = partials
        self._finals: deque[tuple[K, float]] = deque()
        self._speaking: dict[K, float] = {}
        """Utterance going on to when it was last heard, or began."""
        self._pausing: deque[K] = deque()
        self._running: Turn[K] | None = None
        self._running_since = 0.0
        self._partial_ms = 0.0
        """Usual time of a tentative hearing."""
        self._late_ms = 0.0
        self._late_at = -float(_REMEMBER_MS)

    def speaking(self, key: K, now: float) -> None:
        """An utterance began."""
        self._speaking[key] = now

    def pausing(self, key: K) -> None:
        """The speaker pauses: hear what there is now, before the interval is over. Report each
        pause once."""
        if self._partials and key in self._speaking and key not in self._pausing:
            self._pausing.append(key)

    def ended(self, key: K, now: float) -> None:
        """An utterance is over and waits to be heard whole."""
        self._drop(key)
        self._finals.append((key, now))

    def forget(self, key: K) -> None:
        """Nobody wants to know any more."""
        self._drop(key)
        self._finals = deque(entry for entry in self._finals if entry[0] != key)

    def interval_ms(self) -> float:
        """Time between two tentative hearings of a speaker at the present load."""
        needed = self._partial_ms * len(self._speaking) / _PARTIAL_SHARE
        return max(float(self._interval_ms), needed)

    def next(self, now: float) -> tuple[Turn[K] | None, list[K]]:
        """What to hear now, if anything, and the finals that are given up for being too late.
        Ask again after `done`."""
        given_up = []
        while self._finals and now - self._finals[0][1] > self._stale_ms:
            key, since = self._finals.popleft()
            self._note_late(now - since, now)
            given_up.append(key)
        turn: Turn[K] | None = None
        if self._finals:
            key, since = self._finals.popleft()
            self._note_late(now - since, now)
            turn = Turn(key, True)
        elif self._partials and self._speaking and self.behind_ms(now) < _OVERLOADED_MS:
            if self._pausing:
                key, due = self._pausing.popleft(), True
            else:
                key, last = min(self._speaking.items(), key=lambda item: item[1])
                due = now - last >= self.interval_ms()
            if due:
                self._speaking[key] = now
                turn = Turn(key, False)
        self._running, self._running_since = turn, now
        return turn, given_up

    def wait_ms(self, now: float) -> float | None:
        """How long nothing is due unless something is reported; None: for ever."""
        if self._finals:
            return 0.0
        if not self._partials or not self._speaking:
            return None
        due = min(self._speaking.values()) + self.interval_ms() - now
        if self._pausing:
            due = 0.0
        if self.behind_ms(now) >= _OVERLOADED_MS:
            due = max(due, self._late_at + _REMEMBER_MS - now)
        return max(0.0, due)

    def done(self, now: float) -> None:
        """The hearing that `next` gave is over."""
        turn, self._running = self._running, None
        if turn is not None and not turn.final:
            took = now - self._running_since
            self._partial_ms += (took - self._partial_ms) * (_SMOOTH if self._partial_ms else 1.0)

    def behind_ms(self, now: float) -> int:
        """How long finals have to wait for the recogniser now, or had to in the last seconds."""
        waiting = now - self._finals[0][1] if self._finals else 0.0
        lately = self._late_ms if now - self._late_at < _REMEMBER_MS else 0.0
        return max(0, round(max(waiting, lately)))

    def _drop(self, key: K) -> None:
        self._speaking.pop(key, None)
        if key in self._pausing:
            self._pausing.remove(key)

    def _note_late(self, late_ms: float, now: float) -> None:
        if late_ms >= self._late_ms or now - self._late_at >= _REMEMBER_MS:
            self._late_ms, self._late_at = late_ms, now
