import asyncio
from collections.abc import Callable

from media.ticker import GRAIN_S, Ticker


class Alarm:
    def __init__(self, times: list[float]) -> None:
        self.times = times
        self.rang: list[float] = []

    def deadline(self) -> float | None:
        return self.times[0] if self.times else None

    def tick(self, now: float) -> None:
        while self.times and self.times[0] <= now:
            self.times.pop(0)
        self.rang.append(now)


def call(tick: Callable[[float], None], now: float) -> None:
    tick(now)


async def test_it_wakes_for_deadlines_and_sleeps_otherwise() -> None:
    ticker = Ticker(call)
    now = asyncio.get_running_loop().time()
    idle, alarm = Alarm([]), Alarm([now + 0.05, now + 0.1])
    ticker.watch(idle)
    assert ticker.asleep
    ticker.watch(alarm)
    assert not ticker.asleep
    async with asyncio.timeout(5):
        while not ticker.asleep:
            await asyncio.sleep(0.01)
    assert len(alarm.rang) == 2
    assert alarm.rang[0] >= now + 0.05
    assert idle.rang == []


async def test_many_near_deadlines_are_served_together() -> None:
    ticker = Ticker(call)
    now = asyncio.get_running_loop().time()
    alarm = Alarm([now + step * GRAIN_S / 20 for step in range(100)])
    ticker.watch(alarm)
    async with asyncio.timeout(5):
        while alarm.times:
            await asyncio.sleep(0.01)
    assert len(alarm.rang) <= 8


async def test_an_earlier_deadline_comes_first_and_who_is_forgotten_is_not_called() -> None:
    ticker = Ticker(call)
    now = asyncio.get_running_loop().time()
    late, early, gone = Alarm([now + 60]), Alarm([now + 0.02]), Alarm([now + 0.02])
    for alarm in (late, early, gone):
        ticker.watch(alarm)
    ticker.forget(gone)
    async with asyncio.timeout(5):
        while not early.rang:
            await asyncio.sleep(0.01)
    assert late.rang == gone.rang == []
    assert not ticker.asleep
    ticker.close()
    assert ticker.asleep
