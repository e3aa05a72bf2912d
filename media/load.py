"""What gives way when there is more to send than the machine can. Pure: measurements and the time
in, steps out.

The order is fixed. First the audience's packets get longer, to 60 ms and then to 120 ms: the same
sound in a third and a sixth of the datagrams, a moment later. Then new listeners are refused.
People on stage, publishers and those who are listening already are never turned away.

Each step waits for the one before it to show. The way back is slower, and only taken where what
it would cost, by what was measured, fits: longer packets make a machine idle, which is no sign
that it could do with shorter ones.
"""

from __future__ import annotations

import enum
import math
import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

ROOM_TO_RETURN = 0.75
"""A step back is taken where the load after it is below this share of the limit."""
ROOM_TO_ADMIT = 0.8
"""Listeners are let in up to this share of the limit, reckoned at the longest packets and in time
on a core, which is the same whatever else runs: what lies above is for that, and for two who speak
at a time."""
ROOM_TO_READMIT = 0.95
"""Once full by that reckoning, full until the audience is below this share of what fits."""
OWN_SHARE = 0.5
"""Lateness counts where sending takes at least this much of its time. Below, something else is
late, and sending less would not help it."""
RELAPSE_S = 60.0
"""A step forward so soon after a step back makes the next step back wait twice as long..."""
MAX_PATIENCE = 16
"""...up to this many times."""
EVIDENCE = 2_000
"""Datagrams in one measurement from which it tells what a datagram costs; of fewer, waking up
is the greater part."""
MEASURES_KEPT = 5
MAX_EXTRAPOLATION = 4
"""No prediction is made of more than so many times what was measured: it would be too high."""
NO_RELIEF = 0.95
"""A step that leaves more than this share of the datagrams is passed over."""


class Level(enum.IntEnum):
    """What has given way so far."""

    NORMAL = 0
    PACK_60 = 1
    PACK_120 = 2
    REFUSE = 3

    @property
    def packing_ms(self) -> int:
        """No audience gets shorter packets than this."""
        return (20, 60, 120, 120)[self]


@dataclass(frozen=True, slots=True)
class Limits:
    """See `media.settings` for what each means."""

    busy: float = 0.9
    late_ms: float = 250.0
    overload_after_s: float = 2.0
    calm_after_s: float = 10.0


@dataclass(frozen=True, slots=True)
class RoomLoad:
    """One room's audience. `packing_ms` is what its size alone asks for; `voiced`: somebody is
    there who may speak."""

    audience: int
    packing_ms: int = 20
    voiced: bool = True

    def rate(self, floor_ms: int) -> float:
        """Datagrams a second while one person speaks."""
        return self.audience * 1000 / max(self.packing_ms, floor_ms)


@dataclass(frozen=True, slots=True)
class Measure:
    """What was seen since the last one: see `media.plane.Backlog`. `now` in seconds."""

    now: float
    busy: float = 0.0
    cpu: float = 0.0
    late_ms: float = 0.0
    datagrams: int = 0
    shed: int = 0
    rooms: Sequence[RoomLoad] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """A change, with its reason in words. `full` is whether new listeners are refused."""

    level: Level
    full: bool
    reason: str


class Governor:
    """Fed about once a second, by `update`."""

    def __init__(self, limits: Limits | None = None, now: float = 0.0) -> None:
        self.limits = limits or Limits()
        self.level = Level.NORMAL
        self.full = False
        """The audience is as large as fits at the longest packets."""
        self.capacity = math.inf
        """Listeners that fit, by what was measured; without end where that says nothing."""
        self._at = now
        self._evidence: deque[tuple[float, float]] = deque(maxlen=MEASURES_KEPT)
        """What a datagram took of the busiest thread, in seconds, and datagrams a second."""
        self._fitting: deque[float] = deque(maxlen=MEASURES_KEPT)
        self._over_s = 0.0
        """Time overloaded, less the time since that was not."""
        self._calm_since: float | None = None
        self._stepped_back = -math.inf
        self._patience = 1

    @property
    def cost_s(self) -> float | None:
        """What a datagram takes of the busiest thread, on a core; None before it was measured."""
        return statistics.median(cost for cost, _ in self._evidence) if self._evidence else None

    @property
    def refusing(self) -> bool:
        return self.full or self.level is Level.REFUSE

    def admits(self, listening: int) -> bool:
        """Whether there is room for one more beside so many who listen or are on their way."""
        return not self.refusing and listening < self.capacity

    def update(self, measure: Measure) -> Step | None:
        """Take a measurement in; what has changed by it, if anything has."""
        window = measure.now - self._at
        self._at = measure.now
        if measure.datagrams >= EVIDENCE and window > 0:
            cost = measure.cpu * window / measure.datagrams
            self._evidence.append((cost, measure.datagrams / window))
        before, was_full = self.level, self.full
        if self._overloaded(measure):
            self._calm_since = None
            self._over_s += window
            if measure.shed or self._over_s >= self.limits.overload_after_s:
                self._step_up(measure)
        else:
            self._over_s = max(0.0, self._over_s - window)
            self._consider_return(measure, window)
        self._reckon(measure)
        if (self.level, self.full) == (before, was_full):
            return None
        return Step(self.level, self.full, self._reason(measure, before))

    def predict(self, measure: Measure, floor_ms: int) -> float:
        """The busy share with packets of at least `floor_ms`; over 1 where it would not fit.
        While nobody speaks: as if one person did in every room where somebody can."""
        return self._scaled(measure, measure.busy, floor_ms)

    def _scaled(self, measure: Measure, share: float, floor_ms: int) -> float:
        now = sum(room.rate(self.level.packing_ms) for room in measure.rooms)
        then = sum(room.rate(floor_ms) for room in measure.rooms)
        scaled = share * then / now if now else share
        speaking = sum(room.rate(floor_ms) for room in measure.rooms if room.voiced)
        return max(scaled, speaking * (self.cost_s or 0.0))

    # --------------------------------------------------------------------------- inside

    def _overloaded(self, measure: Measure) -> bool:
        late = measure.late_ms >= self.limits.late_ms and measure.busy >= OWN_SHARE
        return measure.shed > 0 or late or measure.busy >= self.limits.busy

    def _step_up(self, measure: Measure) -> None:
        if self.level is Level.REFUSE:
            return
        now = sum(room.rate(self.level.packing_ms) for room in measure.rooms)
        level = Level(self.level + 1)
        while now and level is not Level.REFUSE:
            then = sum(room.rate(level.packing_ms) for room in measure.rooms)
            if then < now * NO_RELIEF:
                break
            level = Level(level + 1)
        self.level = level
        self._over_s = 0.0
        relapse = measure.now - self._stepped_back < RELAPSE_S
        self._patience = min(self._patience * 2, MAX_PATIENCE) if relapse else 1

    def _consider_return(self, measure: Measure, window: float) -> None:
        if self.level is Level.NORMAL:
            return
        lower = Level(self.level - 1)
        after = self.predict(measure, lower.packing_ms)
        late = measure.late_ms >= self.limits.late_ms / 2 and measure.busy >= OWN_SHARE
        if late or after > self.limits.busy * ROOM_TO_RETURN:
            self._calm_since = None
            return
        if self._calm_since is None:
            self._calm_since = measure.now - window
        if measure.now - self._calm_since >= self.limits.calm_after_s * self._patience:
            self.level = lower
            self._calm_since = None
            self._stepped_back = measure.now

    def _reckon(self, measure: Measure) -> None:
        """How many listeners fit at the longest packets."""
        audience = sum(room.audience for room in measure.rooms)
        self._fitting.append(self._fit(measure, audience))
        # One odd second is no reason to turn somebody away, nor to let many in.
        self.capacity = statistics.median_high(self._fitting)
        edge = self.capacity * ROOM_TO_READMIT if self.full else self.capacity
        self.full = audience >= edge

    def _fit(self, measure: Measure, audience: int) -> float:
        cost, longest = self.cost_s, Level.REFUSE.packing_ms
        load = self._scaled(measure, measure.cpu, longest)
        if not cost or not audience or not load:
            return math.inf
        # Of listeners to come, one speaker's sound; more where more speak now.
        one = max(cost * 1000 / longest, load / audience)
        fitting = audience + (self.limits.busy * ROOM_TO_ADMIT - load) / one
        measured = max(rate for _, rate in self._evidence)
        if fitting * 1000 / longest > measured * MAX_EXTRAPOLATION:
            return math.inf
        return float(max(0, math.floor(fitting)))

    def _reason(self, measure: Measure, before: Level) -> str:
        seen = f"sending is at work {measure.busy:.0%} of the time"
        if measure.late_ms >= 1:
            seen += f" and is up to {measure.late_ms:.0f} ms late"
        if measure.shed:
            seen += f"; {measure.shed} packets were given up"
        if self.level > before:
            return seen
        if self.level < before:
            after = self.predict(measure, self.level.packing_ms)
            return f"{seen}, and would be {after:.0%}"
        audience = sum(room.audience for room in measure.rooms)
        fit = "more" if math.isinf(self.capacity) else f"{self.capacity:.0f}"
        return f"{audience} listen and {fit} fit, by what a packet costs; {seen}"
