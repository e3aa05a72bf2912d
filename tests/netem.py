"""A bad network in memory: seeded loss, delay, jitter and reordering, on a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Netem(Generic[T]):
    """What is sent comes out later, or never. The same seed gives the same network.

    `loss`, `reorder` and `duplicate` are probabilities; `delay_s` is constant, up to `jitter_s`
    is added; a reordered item overtakes what was sent within `delay_s` before it. Without
    reordering, items keep their order whatever the jitter.
    """

    def __init__(
        self,
        seed: int,
        *,
        loss: float = 0.0,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        reorder: float = 0.0,
        duplicate: float = 0.0,
    ) -> None:
        self._rng = random.Random(seed)
        self._loss = loss
        self._delay = delay_s
        self._jitter = jitter_s
        self._reorder = reorder
        self._duplicate = duplicate
        self._queue: list[tuple[float, int, T]] = []
        self._count = itertools.count()
        self._latest = float("-inf")
        self.lost = 0

    def send(self, item: T, now: float) -> None:
        if self._rng.random() < self._loss:
            self.lost += 1
            return
        copies = 2 if self._rng.random() < self._duplicate else 1
        for _ in range(copies):
            at = now + self._delay + self._rng.random() * self._jitter
            if self._rng.random() < self._reorder:
                at = now
            else:
                at = self._latest = max(self._latest, at)
            heapq.heappush(self._queue, (at, next(self._count), item))

    def next_at(self) -> float | None:
        """When the next item comes out."""
        return self._queue[0][0] if self._queue else None

    def receive(self, now: float) -> Iterator[tuple[float, T]]:
        """What has come out by now, each with its moment."""
        while self._queue and self._queue[0][0] <= now:
            at, _, item = heapq.heappop(self._queue)
            yield at, item
