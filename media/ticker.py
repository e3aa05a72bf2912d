"""One timer for many rooms: asleep while none has anything to do."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

GRAIN_S = 0.01


class Timed(Protocol):
    """Something that wants `tick` at or soon after its `deadline`, on the loop's clock."""

    def deadline(self) -> float | None: ...

    def tick(self, now: float) -> None: ...


class Ticker:
    """Wakes up at the earliest deadline, at most once in `GRAIN_S`. `run(tick, now)` is how
    `tick` is called, so that one that fails stops no other."""

    def __init__(self, run: Callable[[Callable[[float], None], float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._run = run
        self._pending: dict[Timed, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._at = math.inf
        self._woke = -math.inf

    def watch(self, timed: Timed) -> None:
        """Something may have changed its deadline."""
        deadline = timed.deadline()
        if deadline is None:
            return
        self._pending[timed] = None
        self._wake_at(deadline)

    def forget(self, timed: Timed) -> None:
        self._pending.pop(timed, None)

    def close(self) -> None:
        self._pending.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    @property
    def asleep(self) -> bool:
        """No timer is set."""
        return self._handle is None

    def _wake_at(self, deadline: float) -> None:
        at = max(deadline, self._woke + GRAIN_S)
        if at >= self._at:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._at = at
        self._handle = self._loop.call_at(at, self._wake)

    def _wake(self) -> None:
        now = self._woke = self._loop.time()
        self._handle, self._at = None, math.inf
        earliest = math.inf
        for timed in list(self._pending):
            deadline = timed.deadline()
            if deadline is not None and deadline <= now:
                self._run(timed.tick, now)
                deadline = timed.deadline()
            if deadline is None:
                self._pending.pop(timed, None)
            else:
                earliest = min(earliest, deadline)
        if self._pending:
            self._wake_at(earliest)
