"""One room's forwarding loop bound to the data plane: its instructions become calls."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

from media.events import Frame, MediaEvents
from media.forward import Forwarder, Rules
from media.instructions import (
    Heard,
    JoinGroup,
    LeaveGroup,
    Output,
    ReportGroup,
    ReportPeer,
    SendGroup,
    SendPeer,
)
from media.load import RoomLoad
from media.plane import GroupHandle, PeerHandle, Plane
from media.rtcp import RtcpError

logger = logging.getLogger(__name__)

LOG_EVERY_S = 10.0


class Guard:
    """Runs what may fail without harm to who called; one log line per cause and ten seconds."""

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}
        self._logged: dict[str, float] = {}

    def run(self, cause: str, call: Callable[..., object], *arguments: object) -> None:
        """Call; an exception is counted under `cause` and logged."""
        try:
            call(*arguments)
        except Exception as error:
            self.failures[cause] = count = self.failures.get(cause, 0) + 1
            now = time.monotonic()
            if now - self._logged.get(cause, float("-inf")) >= LOG_EVERY_S:
                self._logged[cause] = now
                logger.exception("%s failed, %d times so far: %s", cause, count, error)


class Router:
    """Every method may send. `now` is on the clock of `time.monotonic`."""

    def __init__(
        self,
        room: str,
        plane: Plane,
        rules: Rules,
        events: MediaEvents,
        guard: Guard,
        cname: str,
    ) -> None:
        self.room = room
        self.malformed_rtcp = 0
        self._plane = plane
        self._events = events
        self._guard = guard
        self._epoch_offset = time.time() - time.monotonic()
        self._forwarder = Forwarder(rules, cname=cname, epoch_offset=self._epoch_offset)
        self._handles: dict[str, PeerHandle] = {}
        self._groups: dict[int, tuple[GroupHandle, set[str]]] = {}
        self._talking = self._forwarder.talking

    # -------------------------------------------------------------------------- what is

    @property
    def talking(self) -> tuple[str | None, ...]:
        return self._talking

    @property
    def packing_ms(self) -> int:
        return self._forwarder.packing_ms

    @property
    def load(self) -> RoomLoad:
        """What the audience costs."""
        forwarder = self._forwarder
        return RoomLoad(
            forwarder.audience, forwarder.wanted_packing_ms, voiced=forwarder.publishers > 0
        )

    @property
    def listeners(self) -> int:
        return self._forwarder.listeners

    @property
    def audience(self) -> int:
        return self._forwarder.audience

    @property
    def publishers(self) -> int:
        return self._forwarder.publishers

    def ssrcs(self, slots: int) -> tuple[int, ...]:
        """What a listener with so many audio sections will hear."""
        return self._forwarder.ssrcs(slots)

    def stats(self) -> dict[str, Any]:
        """Numbers of the room, and how its audience is received (since the last call)."""
        groups = {
            str(slots): dataclasses.asdict(self._plane.reception(group))
            for slots, (group, _) in self._groups.items()
        }
        return {
            "audience": self.audience,
            "stage": self.listeners - self.audience,
            "publishers": self.publishers,
            "packing_ms": self.packing_ms,
            "malformed_rtcp": self.malformed_rtcp,
            "reception": groups,
        }

    def publisher_stats(self, session: str) -> dict[str, Any]:
        """How the publisher is received here. Raises KeyError."""
        return dataclasses.asdict(self._forwarder.source_stats(session))

    def listener_stats(self, session: str) -> dict[str, Any]:
        """What a listener on stage reported last, by SSRC. Raises KeyError."""
        reported = self._forwarder.listener_stats(session)
        return {str(ssrc): dataclasses.asdict(one) for ssrc, one in reported.items()}

    # ------------------------------------------------------------------------- sessions

    def add_publisher(
        self,
        session: str,
        participant: str,
        handle: PeerHandle,
        payload_type: int,
        level_id: int | None,
        now: float,
    ) -> None:
        self._handles[session] = handle
        self._do(self._forwarder.add_source(session, participant, payload_type, level_id, now), now)

    def add_listener(
        self,
        session: str,
        participant: str,
        handle: PeerHandle,
        payload_type: int,
        slots: int,
        *,
        on_stage: bool,
        now: float,
    ) -> None:
        """The peer's keys are set: it hears from the next packet on."""
        self._handles[session] = handle
        self._do(
            self._forwarder.add_listener(
                session, participant, slots, payload_type, on_stage=on_stage, now=now
            ),
            now,
        )

    def remove(self, session: str, now: float) -> None:
        """Whatever the session does, it ends; before the plane forgets the peer."""
        self._do(self._forwarder.remove_source(session, now), now)
        self._do(self._forwarder.remove_listener(session, now), now)
        self._handles.pop(session, None)

    def set_stage(self, participants: frozenset[str], now: float) -> None:
        self._do(self._forwarder.set_stage(participants, now), now)

    def set_muted(self, participants: frozenset[str], now: float) -> None:
        self._do(self._forwarder.set_muted(participants, now), now)

    def set_packing_floor(self, packing_ms: int, now: float) -> None:
        self._do(self._forwarder.set_packing_floor(packing_ms), now)

    def close(self) -> None:
        """Give the groups back."""
        for group, _ in self._groups.values():
            self._plane.remove_group(group)
        self._groups.clear()
        self._handles.clear()

    # -------------------------------------------------------------------------- packets

    def rtp_received(self, session: str, packet: bytes, now: float) -> None:
        self._do(self._forwarder.rtp_received(session, packet, now), now)

    def rtcp_received(self, session: str, packet: bytes, now: float) -> None:
        try:
            outputs = self._forwarder.rtcp_received(session, packet, now)
        except RtcpError:
            self.malformed_rtcp += 1
        else:
            self._do(outputs, now)

    def tick(self, now: float) -> None:
        self._do(self._forwarder.tick(now), now)

    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._forwarder.deadline()

    # --------------------------------------------------------------------------- inside

    def _do(self, outputs: list[Output], now: float) -> None:
        for output in outputs:
            self._guard.run("forwarding", self._carry_out, output, now)
        talking = self._forwarder.talking
        if talking != self._talking:
            self._talking = talking
            self._guard.run("talking_changed", self._events.talking_changed, self.room, talking)

    def _carry_out(self, output: Output, now: float) -> None:
        match output:
            case SendGroup(program, packet, index, spread_s):
                if program in self._groups:
                    self._plane.send_group(self._groups[program][0], packet, index, spread_s)
            case SendPeer(session, packet, index):
                self._plane.send_rtp(self._handles[session], packet, index)
            case Heard(participant, arrival):
                frame = Frame(
                    arrival.sequence,
                    arrival.timestamp,
                    arrival.level.dbov,
                    arrival.payload,
                    now + self._epoch_offset,
                )
                self._events.frame_received(self.room, participant, frame)
            case ReportGroup(program, packet):
                if program in self._groups:
                    self._plane.send_group_rtcp(self._groups[program][0], packet)
            case ReportPeer(session, packet):
                self._plane.send_rtcp(self._handles[session], packet)
            case JoinGroup(session, program, payload_type, offsets):
                if program not in self._groups:
                    self._groups[program] = (self._plane.add_group(), set())
                group, members = self._groups[program]
                members.add(session)
                self._plane.join_group(group, self._handles[session], payload_type, offsets)
            case LeaveGroup(session, program):
                group, members = self._groups[program]
                members.discard(session)
                self._plane.leave_group(group, self._handles[session])
                if not members:
                    del self._groups[program]
                    self._plane.remove_group(group)
