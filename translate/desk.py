"""Translations under way: final lines in order, tentative ones only when there is time.

Each pair of languages has a lane of its own, so a slow engine holds up nobody else's language.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from chatroom.errors import ChatroomError, Unavailable
from translate import phrases
from translate.text import Translation, Translator

log = logging.getLogger(__name__)

_TOGETHER = 4
"""Final lines that wait are translated together, so many at most."""
_QUICK_S = 0.3
"""Tentative lines are translated only where a line usually takes less than this: no final should
wait for one."""
_SMOOTH = 0.3

Deliver = Callable[[str, str], None]
"""Called with the translation and "", or "" and an error code."""


@dataclass(frozen=True, slots=True)
class _Request:
    text: str
    deliver: Deliver
    since: float


@dataclass(slots=True)
class _Lane:
    source: str
    target: str
    finals: deque[_Request] = field(default_factory=deque)
    partials: dict[Hashable, _Request] = field(default_factory=dict)
    """Line to its newest words."""
    usual_s: float = 0.0
    task: asyncio.Task[None] | None = None


class Desk:
    """Use it from one event loop. `stale_s`: a line that waited longer is not translated."""

    def __init__(self, translator: Translator, stale_s: float) -> None:
        self._translator = translator
        self._stale_s = stale_s
        self._lanes: dict[tuple[str, str], _Lane] = {}

    def ask_final(
        self, key: Hashable, text: str, source: str, target: str, deliver: Deliver
    ) -> None:
        """Translate a final line; it takes the place of its tentative words."""
        lane = self._lane(source, target)
        lane.partials.pop(key, None)
        lane.finals.append(_Request(text, deliver, time.monotonic()))
        self._start(lane)

    def ask_partial(
        self, key: Hashable, text: str, source: str, target: str, deliver: Deliver
    ) -> None:
        """Translate tentative words, if there is time, unless newer ones come before. Where
        there will be no translation nothing is delivered."""
        lane = self._lane(source, target)
        if lane.usual_s > _QUICK_S or not self._translator.available(source, target):
            return
        lane.partials[key] = _Request(text, deliver, time.monotonic())
        self._start(lane)

    def forget(self, key: Hashable) -> None:
        """Tentative words of a line that nobody needs any more."""
        for lane in self._lanes.values():
            lane.partials.pop(key, None)

    def behind_ms(self) -> int:
        """How long the final line that waits longest has waited."""
        now = time.monotonic()
        waits = [now - lane.finals[0].since for lane in self._lanes.values() if lane.finals]
        return round(max(waits, default=0.0) * 1000)

    async def close(self) -> None:
        """Deliver nothing more."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        self._lanes.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------------- inside

    def _lane(self, source: str, target: str) -> _Lane:
        lane = self._lanes.get((source, target))
        if lane is None:
            lane = self._lanes[source, target] = _Lane(source, target)
        return lane

    def _start(self, lane: _Lane) -> None:
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._work(lane), name=f"{lane.source}-{lane.target}")

    async def _work(self, lane: _Lane) -> None:
        while lane.finals or lane.partials:
            if lane.finals:
                await self._finals(lane)
            else:
                request = lane.partials.pop(next(iter(lane.partials)))
                result = (await self._translate(lane, [request]))[0]
                if not result.error:
                    self._deliver(request, result.text, "")

    async def _finals(self, lane: _Lane) -> None:
        requests = [lane.finals.popleft() for _ in range(min(_TOGETHER, len(lane.finals)))]
        now = time.monotonic()
        fresh = [request for request in requests if now - request.since <= self._stale_s]
        for request in requests:
            if request not in fresh:
                self._deliver(request, "", Unavailable.code)
        if not fresh:
            return
        results = await self._translate(lane, fresh)
        for request, result in zip(fresh, results, strict=True):
            self._deliver(request, result.text, result.error)

    async def _translate(self, lane: _Lane, requests: list[_Request]) -> list[Translation]:
        began = time.monotonic()
        texts = [request.text for request in requests]
        try:
            made = await self._translator.translate_many(texts, lane.source, lane.target)
        except ChatroomError as error:
            return [Translation("", error=error.code, reason=error.message)] * len(requests)
        except Exception:
            log.exception("Translation %s-%s failed", lane.source, lane.target)
            return [Translation("", error=Unavailable.code)] * len(requests)
        slow = sum(line.engine not in ("", phrases.NAME) for line in made)
        if not slow:
            return made  # says nothing about how long an engine takes
        took = (time.monotonic() - began) / slow
        lane.usual_s += (took - lane.usual_s) * (_SMOOTH if lane.usual_s else 1.0)
        return made

    @staticmethod
    def _deliver(request: _Request, text: str, error: str) -> None:
        try:
            request.deliver(text, error)
        except Exception:
            log.exception("A translation could not be delivered")
