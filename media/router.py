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
from media.plane import GroupHandle, PeerHandle, Plane, Reception
from media.rtcp import RtcpError

logger = logging.getLogger(__name__)

LOG_EVERY_S = 10.0
LOSS_EVERY_S = 5.0
"""News are repeated by the loss that their readers reported so long ago at most."""


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
        self._groups: dict[tuple[int, str | None], tuple[GroupHandle, set[str]]] = {}
        """By slots and by what is read in the sound."""
        self._member: dict[str, tuple[int, str | None]] = {}
        self._heard: dict[tuple[int, str | None], Reception] = {}
        self._loss_at = 0.0
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
            str(slots) if news is None else f"{slots} {news}": dataclasses.asdict(
                self._reception((slots, news))
            )
            for slots, news in self._groups
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
        news: str | None = None,
    ) -> None:
        """The peer's keys are set: it hears from the next packet on."""
        self._handles[session] = handle
        self._do(
            self._forwarder.add_listener(
                session, participant, slots, payload_type, on_stage=on_stage, now=now, news=news
            ),
            now,
        )

    def set_news(self, session: str, news: str | None, now: float) -> None:
        """What a listener reads in the sound: a language, "" for originals, None for nothing."""
        self._do(self._forwarder.set_news(session, news, now), now)

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
        self._do(self._forwarder.set_packing_floor(packing_ms, now), now)

    def close(self) -> None:
        """Give the groups back."""
        for group, _ in self._groups.values():
            self._plane.remove_group(group)
        self._groups.clear()
        self._member.clear()
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
        if now >= self._loss_at:
            self._loss_at = now + LOSS_EVERY_S
            for slots, news in self._groups:
                if news is not None:
                    loss = self._reception((slots, news)).loss_mean
                    self._forwarder.set_loss(slots, news, loss)
        self._do(self._forwarder.tick(now), now)

    # ----------------------------------------------------------------------------- news

    @property
    def news_languages(self) -> frozenset[str]:
        """What is read in the sound now."""
        return self._forwarder.news_languages

    def bulletin(
        self, news: str, key: str, body: bytes, *, kept: bool, at: float, now: float
    ) -> None:
        """Tell those who read this language in the sound."""
        self._forwarder.bulletin(news, key, body, kept=kept, at=at, now=now)

    def _reception(self, key: tuple[int, str | None]) -> Reception:
        """What a group's members said last: the plane tells every report once."""
        heard = self._plane.reception(self._groups[key][0])
        if heard.reports or key not in self._heard:
            self._heard[key] = heard
        return self._heard[key]

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
            case SendGroup(program, packet, index, spread_s, news):
                if (program, news) in self._groups:
                    group = self._groups[program, news][0]
                    self._plane.send_group(group, packet, index, spread_s)
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
                for (slots, _), (group, _) in self._groups.items():
                    if slots == program:
                        self._plane.send_group_rtcp(group, packet)
            case ReportPeer(session, packet):
                self._plane.send_rtcp(self._handles[session], packet)
            case JoinGroup(session, program, payload_type, offsets, news):
                key = (program, news)
                if key not in self._groups:
                    self._groups[key] = (self._plane.add_group(), set())
                group, members = self._groups[key]
                members.add(session)
                self._plane.join_group(group, self._handles[session], payload_type, offsets)
                before = self._member.get(session)
                self._member[session] = key
                if before is not None and before != key:
                    self._left(session, before)
            case LeaveGroup(session, _):
                key = self._member.pop(session)
                self._plane.leave_group(self._groups[key][0], self._handles[session])
                self._left(session, key)

    def _left(self, session: str, key: tuple[int, str | None]) -> None:
        group, members = self._groups[key]
        members.discard(session)
        if not members:
            del self._groups[key]
            self._heard.pop(key, None)
            self._plane.remove_group(group)
