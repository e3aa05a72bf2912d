"""Measures the load of a node once a second, and has it shed in order (`media.load`)."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable
from typing import Any

from chatroom.errors import RoomFull
from media.load import Governor, Level, Limits, Measure, Step
from media.plane import Backlog, Plane
from media.router import Guard, Router
from media.settings import MediaSettings

logger = logging.getLogger(__name__)

EVERY_S = 1.0


class Shedding:
    """`routers` gives the rooms of now. Runs from its making to `close`."""

    def __init__(
        self,
        plane: Plane,
        settings: MediaSettings,
        guard: Guard,
        routers: Callable[[], Iterable[Router]],
    ) -> None:
        self._plane = plane
        self._guard = guard
        self._routers = routers
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._governor = Governor(
            Limits(
                busy=settings.overload_busy,
                late_ms=settings.overload_late_ms,
                overload_after_s=settings.overload_after_s,
                calm_after_s=settings.calm_after_s,
            ),
            now,
        )
        self._last = Measure(now)
        self._due = now + EVERY_S
        self._timer = self._loop.call_at(self._due, self._look)

    def admit(self, listening: int) -> None:
        """Let one more in beside so many who listen or are on their way. Raises RoomFull."""
        if self._governor.admits(listening):
            return
        # Those who are refused together are not to come back together.
        wait_s = self._governor.limits.calm_after_s * random.uniform(1, 2)
        raise RoomFull(
            "This server is at its limit and takes no more listeners just now, so that those "
            "inside keep clean sound. Please try again in a moment.",
            retry_after_s=wait_s,
        )

    def begin(self, router: Router) -> None:
        """A room has come."""
        router.set_packing_floor(self._governor.level.packing_ms, self._loop.time())

    def stats(self) -> dict[str, Any]:
        """Numbers for people and metrics; of the last second where they are of a time."""
        governor, cost_s = self._governor, self._governor.cost_s
        return {
            "level": int(governor.level),
            "packing_floor_ms": governor.level.packing_ms,
            "refusing": governor.refusing,
            "busy": round(self._last.busy, 4),
            "cpu": round(self._last.cpu, 4),
            "late_ms": round(self._last.late_ms, 3),
            "datagram_us": None if cost_s is None else round(cost_s * 1e6, 3),
            "capacity": None if math.isinf(governor.capacity) else round(governor.capacity),
        }

    def close(self) -> None:
        self._timer.cancel()

    # --------------------------------------------------------------------------- inside

    def _look(self) -> None:
        now = self._loop.time()
        late_s = now - self._due
        # What was missed is not made up for.
        self._due = now + EVERY_S
        self._timer = self._loop.call_at(self._due, self._look)
        self._guard.run("load", self._take, self._plane.backlog(), now, late_s)

    def _take(self, told: Backlog, now: float, loop_late_s: float) -> None:
        """`loop_late_s`: how late the event loop is, which every packet passes on its way."""
        before, refused = self._governor.level, self._governor.refusing
        self._last = Measure(
            now,
            busy=told.busy,
            cpu=told.cpu,
            late_ms=max(told.late_ms, loop_late_s * 1000),
            datagrams=told.datagrams,
            shed=told.shed,
            rooms=[router.load for router in self._routers()],
        )
        step = self._governor.update(self._last)
        if step is None:
            return
        logger.log(
            logging.WARNING if step.level > before or step.full > refused else logging.INFO,
            "load level %d of %d: %s (%s)",
            step.level,
            max(Level),
            _words(step),
            step.reason,
        )
        if step.level.packing_ms != before.packing_ms:
            for router in list(self._routers()):
                self._guard.run(
                    "packing floor", router.set_packing_floor, step.level.packing_ms, now
                )


def _words(step: Step) -> str:
    sound = {
        20: "packets are as long as each audience's size asks for",
        60: "packets to every audience are at least 60 ms long",
        120: "packets to every audience are 120 ms long",
    }[step.level.packing_ms]
    refusing = step.full or step.level is Level.REFUSE
    return f"{sound}; new listeners are {'refused' if refusing else 'let in'}"
