"""The governor against a modelled machine, with a clock of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.load import Governor, Level, Limits, Measure, RoomLoad, Step

COST_S = 4e-6
LIMITS = Limits()


@dataclass
class Machine:
    """One busiest thread that takes `cost_s` a datagram; what does not fit is given up."""

    rooms: list[RoomLoad]
    cost_s: float = COST_S
    speakers: float = 1.0
    overhead: float = 0.02
    now: float = 100.0
    governor: Governor = field(default_factory=lambda: Governor(LIMITS, 100.0))
    steps: list[Step] = field(default_factory=list)

    @property
    def demand(self) -> float:
        return self.rate() * self.cost_s + self.overhead

    def rate(self) -> float:
        floor = self.governor.level.packing_ms
        return self.speakers * sum(room.rate(floor) for room in self.rooms)

    def second(self) -> Measure:
        self.now += 1
        share = min(1.0, 1 / self.demand)
        rate = self.rate()
        measure = Measure(
            self.now,
            busy=min(1.0, self.demand),
            cpu=min(1.0, self.demand),
            late_ms=1.0 if self.demand < 1 else 500.0,
            datagrams=round(rate * share),
            shed=round(rate * (1 - share)),
            rooms=tuple(self.rooms),
        )
        step = self.governor.update(measure)
        if step is not None:
            self.steps.append(step)
        return measure

    def run(self, seconds: int) -> Machine:
        for _ in range(seconds):
            self.second()
        return self

    @property
    def audience(self) -> int:
        return sum(room.audience for room in self.rooms)

    def join(self, count: int) -> int:
        """How many of so many are let in, one after the other, into the first room."""
        room = self.rooms[0]
        taken = 0
        while taken < count and self.governor.admits(self.audience + taken):
            taken += 1
        self.rooms[0] = replace(room, audience=room.audience + taken)
        return taken

    @property
    def levels(self) -> list[Level]:
        """Those that it came to, in order."""
        return [level for level, _ in itertools.groupby(step.level for step in self.steps)]


def listeners_at(share: float, packing_ms: int, cost_s: float = COST_S) -> int:
    """An audience that takes this share of the machine."""
    return round(share / cost_s * packing_ms / 1000)


def test_within_the_limits_nothing_changes() -> None:
    machine = Machine([RoomLoad(listeners_at(0.7, 20))]).run(100)
    assert machine.steps == []
    assert not machine.governor.refusing
    assert machine.governor.cost_s == pytest.approx(COST_S, rel=0.1)


def test_it_sheds_in_the_stated_order_and_those_inside_fit() -> None:
    # Half as much again as the machine carries, at every packing.
    machine = Machine([RoomLoad(listeners_at(1.5, 120))])
    machine.run(1)
    assert machine.levels == [Level.PACK_60]
    machine.run(1)
    assert machine.levels == [Level.PACK_60, Level.PACK_120]
    machine.run(1)
    assert machine.levels == [Level.PACK_60, Level.PACK_120, Level.REFUSE]
    assert all("given up" in step.reason for step in machine.steps)
    assert machine.join(1) == 0


def test_longer_packets_that_are_enough_are_where_it_stays() -> None:
    machine = Machine([RoomLoad(listeners_at(0.95, 20))]).run(600)
    assert machine.levels == [Level.PACK_60]
    assert machine.demand < 0.4
    assert not machine.governor.refusing


def test_steps_that_would_save_nothing_are_passed_over() -> None:
    machine = Machine([RoomLoad(listeners_at(0.95, 120), packing_ms=120)]).run(5)
    assert [level for level in machine.levels if level] == [Level.REFUSE]


def test_a_moments_overload_is_none() -> None:
    governor = Governor(LIMITS)
    rooms = (RoomLoad(100),)
    for now in range(1, 100):
        busy = 0.95 if now % 3 == 0 else 0.1
        assert governor.update(Measure(now, busy=busy, datagrams=100, rooms=rooms)) is None


def test_lateness_counts_where_sending_is_the_load() -> None:
    governor, rooms = Governor(LIMITS), (RoomLoad(1000),)
    for now in range(1, 10):
        assert governor.update(Measure(now, busy=0.4, late_ms=400, rooms=rooms)) is None
    assert governor.update(Measure(10, busy=0.5, late_ms=400, rooms=rooms)) is None
    step = governor.update(Measure(11, busy=0.5, late_ms=400, rooms=rooms))
    assert step is not None
    assert step.level is Level.PACK_60
    assert "400 ms late" in step.reason


def test_it_goes_back_slowly_when_the_audience_is_gone() -> None:
    machine = Machine([RoomLoad(listeners_at(1.5, 120))]).run(30)
    assert machine.governor.level is Level.REFUSE
    machine.rooms = [RoomLoad(listeners_at(0.1, 20))]
    gone = machine.now
    machine.second()
    machine.steps.clear()
    while machine.governor.level:
        machine.second()
    assert machine.levels == [Level.PACK_120, Level.PACK_60, Level.NORMAL]
    assert machine.now - gone >= 3 * LIMITS.calm_after_s
    assert machine.run(300).levels[3:] == []


def test_a_pause_in_the_talk_is_no_room() -> None:
    machine = Machine([RoomLoad(listeners_at(0.95, 20))]).run(10)
    assert machine.governor.level is Level.PACK_60
    machine.speakers = 0.0
    machine.run(600)
    assert machine.levels == [Level.PACK_60]
    # Where nobody is there who could speak, it is.
    machine.rooms = [replace(machine.rooms[0], voiced=False)]
    machine.run(11)
    assert machine.governor.level is Level.NORMAL


def test_a_relapse_makes_the_next_step_back_wait_longer() -> None:
    """A load that the measurements do not foresee: another program, say."""
    governor, rooms, now = Governor(LIMITS), (RoomLoad(100),), 0.0
    ups = []
    while len(ups) < 6:
        now += 1
        busy = 0.95 if governor.level is Level.NORMAL else 0.1
        step = governor.update(Measure(now, busy=busy, rooms=rooms))
        if step is not None and step.level:
            ups.append(now)
    gaps = [b - a for a, b in itertools.pairwise(ups)]
    assert gaps == [12, 22, 42, 82, 162]


def test_listeners_are_refused_before_the_machine_is_over_its_limit() -> None:
    machine = Machine([RoomLoad(2000)])
    refused = 0
    for _ in range(300):
        refused += 300 - machine.join(300)
        machine.second()
        assert machine.demand < LIMITS.busy or machine.governor.level < Level.PACK_120
    assert refused > 0
    assert machine.levels[-1] is Level.PACK_120
    assert machine.steps[-1].full
    assert "fit" in machine.steps[-1].reason
    fitting = listeners_at(LIMITS.busy, 120)
    assert 0.7 * fitting < machine.audience < fitting
    # A few who leave make no room; many do.
    machine.rooms = [replace(machine.rooms[0], audience=round(machine.audience * 0.97))]
    machine.run(3)
    assert machine.join(1) == 0
    machine.rooms = [replace(machine.rooms[0], audience=round(machine.audience * 0.9))]
    machine.run(3)
    assert machine.join(10_000) > 0


def test_many_who_come_between_two_measurements_are_counted() -> None:
    machine = Machine([RoomLoad(listeners_at(0.68, 120), packing_ms=120)]).run(5)
    assert 0 < machine.join(100_000) < 1000


def test_a_sound_check_says_nothing_about_a_full_hall() -> None:
    """Of few datagrams, waking up is the greater part: what they cost is no prediction."""
    machine = Machine([RoomLoad(50)], cost_s=30e-6).run(20)
    assert machine.governor.cost_s is not None
    machine.speakers = 0.0
    assert machine.join(20_000) == 20_000


@given(
    st.lists(
        st.tuples(st.floats(0, 0.3), st.floats(0, 99), st.integers(0, 500)),
        min_size=1,
        max_size=60,
    )
)
def test_an_idle_machine_refuses_nobody(seen: list[tuple[float, float, int]]) -> None:
    governor = Governor(LIMITS)
    for now, (busy, late_ms, audience) in enumerate(seen, 1):
        rooms = (RoomLoad(audience),)
        datagrams = audience * 50
        step = governor.update(
            Measure(now, busy=busy, cpu=busy, late_ms=late_ms, datagrams=datagrams, rooms=rooms)
        )
        # Cost is what was measured: an audience of ten times may well not fit, but this does.
        assert governor.level is Level.NORMAL
        assert governor.admits(min(audience, 100))
        assert step is None or not step.level


def _history(governor: Governor, levels: int) -> float:
    now = 1.0
    for _ in range(levels):
        governor.update(Measure(now, busy=0.95, shed=1, datagrams=10, rooms=(RoomLoad(1000),)))
        now += 1
    return now


@given(
    levels=st.integers(0, 3),
    calm=st.integers(0, 30),
    low=st.tuples(st.floats(0, 1), st.floats(0, 1000), st.integers(0, 100)),
    more=st.tuples(st.floats(0, 1), st.floats(0, 1000), st.integers(0, 100)),
)
def test_more_load_never_means_a_lower_level(
    levels: int,
    calm: int,
    low: tuple[float, float, int],
    more: tuple[float, float, int],
) -> None:
    results = []
    high = (min(1.0, low[0] + more[0]), low[1] + more[1], low[2] + more[2])
    for busy, late_ms, shed in (low, high):
        governor = Governor(LIMITS)
        now = _history(governor, levels)
        for _ in range(calm):
            governor.update(Measure(now, busy=0.1, datagrams=10, rooms=(RoomLoad(1000),)))
            now += 1
        measure = Measure(
            now, busy=busy, late_ms=late_ms, shed=shed, datagrams=10, rooms=(RoomLoad(1000),)
        )
        governor.update(measure)
        results.append(governor.level)
    assert results[0] <= results[1]


@given(
    audiences=st.lists(st.integers(0, 60_000), min_size=1, max_size=4),
    cost_us=st.floats(1, 40),
    overhead=st.floats(0.001, 0.2),
)
def test_under_a_steady_load_it_settles(
    audiences: list[int], cost_us: float, overhead: float
) -> None:
    def packing(audience: int) -> int:
        return 120 if audience >= 10_000 else 60 if audience >= 60 else 20

    machine = Machine(
        [RoomLoad(audience, packing(audience)) for audience in audiences],
        cost_s=cost_us / 1e6,
        overhead=overhead,
    )
    machine.run(60)
    level, steps = machine.governor.level, len(machine.steps)
    assert steps <= 5
    machine.run(300)
    assert (machine.governor.level, len(machine.steps)) == (level, steps)
    if machine.demand >= LIMITS.busy:
        assert machine.governor.refusing


@given(
    audience=st.integers(100, 100_000),
    change=st.sampled_from([lambda n: n, lambda n: n // 2, lambda n: n * 2]),
    talk=st.integers(1, 40),
)
def test_talk_that_comes_and_goes_does_not_make_it_swing(
    audience: int, change: Callable[[int], int], talk: int
) -> None:
    machine = Machine([RoomLoad(audience)])
    for turn in range(20):
        machine.speakers = 1.0 - turn % 2
        machine.run(talk)
    machine.rooms = [RoomLoad(change(audience))]
    machine.steps.clear()
    for turn in range(20):
        machine.speakers = 1.0 - turn % 2
        machine.run(talk)
    ups = sum(b > a for a, b in itertools.pairwise(machine.levels))
    downs = sum(b < a for a, b in itertools.pairwise(machine.levels))
    assert min(ups, downs) <= 1


def test_without_a_measurement_there_is_no_limit() -> None:
    governor = Governor(LIMITS)
    assert governor.cost_s is None
    assert math.isinf(governor.capacity)
    assert governor.admits(1_000_000)
    assert governor.predict(Measure(1.0, rooms=(RoomLoad(10),)), 120) == 0
