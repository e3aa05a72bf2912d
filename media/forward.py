"""The forwarding loop of one room: who is heard by whom. Pure: packets and a clock in,
instructions for the data plane out, to be carried out in their order.

Each `Program` selects speakers for its own slots. The audience of a program is one group of the
data plane: it gets every slot's packets, packed as the audience grows. People on stage get
unpacked packets one by one, without their own voice. Both number the same streams, so a listener
moves between them without a gap (`media.plane` on indices and offsets).
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from media import opus, rtcp
from media.instructions import (
    Heard,
    JoinGroup,
    LeaveGroup,
    Output,
    SendGroup,
    SendPeer,
)
from media.packer import PASS_SAMPLES, Packed
from media.program import Feed, Lane, Listener, Program, Reported
from media.reports import Reporter
from media.rtcp import SenderReport
from media.slots import Frame, Tuning
from media.source import Arrival, Source, SourceStats

SPREAD_S_PER_MEMBER = 1e-5
SHRINK = 0.8
"""Packing gets shorter again when the audience is below this share of what made it longer."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a room is forwarded; see `media.settings` for the units."""

    slots: int = 3
    tuning: Tuning = field(default_factory=Tuning)
    pack_60_from: int = 60
    pack_120_from: int = 10_000
    spread_s: float = 0.01
    report_interval_s: float = 3.0


class Forwarder:
    """`epoch_offset` is Unix time minus the clock that `now` is on."""

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        cname: str = "room",
        epoch_offset: float = 0.0,
        rng: random.Random | None = None,
    ) -> None:
        self.rules = rules or Rules()
        self._rng = rng or random.SystemRandom()
        self._epochs = itertools.count(1)
        self._ssrcs: set[int] = set()
        self._sources: dict[str, Source] = {}
        self._sessions: dict[str, str] = {}
        """Publishing session of each participant."""
        self._listeners: dict[str, tuple[Program, Listener]] = {}
        self._muted: frozenset[str] = frozenset()
        self._packing = self._wanted = PASS_SAMPLES
        self._floor = PASS_SAMPLES
        self._reporter = Reporter(
            self._new_ssrc(), cname, self.rules.report_interval_s, epoch_offset, self._rng
        )
        self._main = Program(
            self.rules.slots, self.rules.tuning, self._packing, self._new_ssrc, self._rng
        )
        self._programs: dict[int, Program] = {self.rules.slots: self._main}

    def _new_ssrc(self) -> int:
        while True:
            ssrc = self._rng.randrange(1, 1 << 32)
            if ssrc not in self._ssrcs:
                self._ssrcs.add(ssrc)
                return ssrc

    # -------------------------------------------------------------------------- what is

    @property
    def talking(self) -> tuple[str | None, ...]:
        """Participants in the slots of the full program."""
        return self._main.selector.sources

    @property
    def packing_ms(self) -> int:
        return self._packing * 1000 // opus.SAMPLE_RATE

    @property
    def wanted_packing_ms(self) -> int:
        """What the audience's size alone asks for."""
        return self._wanted * 1000 // opus.SAMPLE_RATE

    @property
    def audience(self) -> int:
        return sum(len(program.audience) for program in self._programs.values())

    @property
    def listeners(self) -> int:
        """Audience and stage."""
        return len(self._listeners)

    @property
    def publishers(self) -> int:
        return len(self._sources)

    @property
    def idle(self) -> bool:
        """Nobody publishes or listens."""
        return not self._sources and not self._listeners

    def ssrcs(self, slots: int) -> tuple[int, ...]:
        """The SSRCs that a listener with so many audio sections hears."""
        return self._program(slots).ssrcs

    def source_stats(self, session: str) -> SourceStats:
        """Raises KeyError for a session that does not publish."""
        return self._sources[session].stats()

    def listener_stats(self, session: str) -> dict[int, Reported]:
        """By SSRC, on stage; the audience's is the group's. Raises KeyError."""
        return self._listeners[session][1].reported

    def _program(self, slots: int) -> Program:
        if not 1 <= slots <= self.rules.slots:
            raise ValueError(f"{slots} slots; 1 to {self.rules.slots} are there")
        program = self._programs.get(slots)
        if program is None:
            program = Program(slots, self.rules.tuning, self._packing, self._new_ssrc, self._rng)
            self._programs[slots] = program
        return program

    # ------------------------------------------------------------------------ publishers

    def add_source(
        self, session: str, participant: str, payload_type: int, level_id: int | None, now: float
    ) -> list[Output]:
        """Somebody publishes; an earlier session of theirs is heard no more."""
        out: list[Output] = []
        before = self._sessions.get(participant)
        if before is not None:
            out += self.remove_source(before, now)
        self._sources[session] = Source(participant, payload_type, level_id, self._epochs)
        self._sessions[participant] = session
        self._reporter.plan(now)
        return out

    def remove_source(self, session: str, now: float) -> list[Output]:
        """Unknown sessions are ignored."""
        source = self._sources.pop(session, None)
        if source is None:
            return []
        if self._sessions.get(source.participant) == session:
            del self._sessions[source.participant]
        return self._silence(source.participant, now)

    def set_muted(self, muted: frozenset[str], now: float) -> list[Output]:
        """Of these nothing is forwarded or reported."""
        newly = muted - self._muted
        self._muted = muted
        return [
            output for participant in sorted(newly) for output in self._silence(participant, now)
        ]

    def _silence(self, participant: str, now: float) -> list[Output]:
        out: list[Output] = []
        for program in self._programs.values():
            slot = program.selector.slot_of(participant)
            program.selector.drop(participant, now)
            if slot is not None:
                out += self._close_run(program, slot, participant, now)
            if program.stand_in is not None:
                out += self._to_speaker(program, program.stand_in.drop(participant, now))
        return out

    # ------------------------------------------------------------------------- listeners

    def add_listener(
        self,
        session: str,
        participant: str,
        slots: int,
        payload_type: int,
        *,
        on_stage: bool,
        now: float,
        news: str | None = None,
    ) -> list[Output]:
        """Somebody listens, from the next packet on. `news`: see `set_news`."""
        program = self._program(slots)
        # Below 2**15, so that no receiver can guess the roll-over counter wrong; above what a
        # late packet can go back.
        feeds = [Feed(ssrc, self._rng.randrange(1024, 0x8000)) for ssrc in program.ssrcs]
        listener = Listener(session, participant, payload_type, on_stage, feeds, news)
        self._listeners[session] = (program, listener)
        self._reporter.plan(now)
        if on_stage:
            program.stage[session] = listener
            return []
        out = self._join(program, listener, now)
        return out + self._choose_packing(now)

    def remove_listener(self, session: str, now: float) -> list[Output]:
        """Unknown sessions are ignored."""
        program, listener = self._listeners.pop(session, (None, None))
        if program is None or listener is None:
            return []
        if program.stage.pop(session, None) is not None:
            return []
        return self._leave(program, listener) + self._choose_packing(now)

    def set_stage(self, participants: frozenset[str], now: float) -> list[Output]:
        """These listen as stage, everybody else as audience; at once."""
        out: list[Output] = []
        for session, (program, listener) in self._listeners.items():
            wanted = listener.participant in participants
            if wanted == listener.on_stage:
                continue
            listener.on_stage = wanted
            # What waits in the packers was meant for those who listen until now.
            out += self._flush(program, now)
            if wanted:
                for feed, lane in zip(listener.feeds, program.lanes, strict=True):
                    feed.to_stage(lane.packer.next_index)
                out += self._leave(program, listener)
                program.stage[session] = listener
            else:
                del program.stage[session]
                # A late packet would get an index that this listener has from the stage.
                for lane in program.lanes:
                    lane.packer.close_late()
                out += self._join(program, listener, now)
        return out + self._choose_packing(now) if out else out

    def set_news(self, session: str, news: str | None, now: float) -> list[Output]:
        """What a listener reads in the sound from the next packet on, while in the audience: a
        language, "" for originals alone, None for nothing. Unknown sessions are ignored."""
        program, listener = self._listeners.get(session, (None, None))
        if program is None or listener is None or listener.news == news:
            return []
        before, listener.news = listener.news, news
        if listener.on_stage:
            return []
        # All groups of a program number their packets alike, so the offsets stay.
        program.desk.leave(before)
        return [self._into_group(program, listener, now)]

    def _join(self, program: Program, listener: Listener, now: float) -> list[Output]:
        for feed, lane in zip(listener.feeds, program.lanes, strict=True):
            feed.to_audience(lane.packer.next_index)
        program.audience[listener.session] = listener
        return [self._into_group(program, listener, now)]

    def _into_group(self, program: Program, listener: Listener, now: float) -> JoinGroup:
        program.desk.join(listener.news, now)
        offsets = {feed.ssrc: feed.offset for feed in listener.feeds}
        return JoinGroup(
            listener.session, program.size, listener.payload_type, offsets, listener.news
        )

    def _leave(self, program: Program, listener: Listener) -> list[Output]:
        del program.audience[listener.session]
        program.desk.leave(listener.news)
        if not program.audience:
            for lane in program.lanes:
                lane.packer.pause()
        return [LeaveGroup(listener.session, program.size)]

    def _flush(self, program: Program, now: float) -> list[Output]:
        return [
            send
            for lane in program.lanes
            for send in self._group_sends(program, lane, lane.packer.flush(), now)
        ]

    def set_packing_floor(self, packing_ms: int, now: float) -> list[Output]:
        """The audience gets no shorter packets than this; 20: as its size asks for."""
        self._floor = packing_ms * opus.SAMPLE_RATE // 1000
        return self._choose_packing(now)

    def _choose_packing(self, now: float) -> list[Output]:
        size = self.audience
        wanted = PASS_SAMPLES
        for samples, threshold in (
            (3 * PASS_SAMPLES, self.rules.pack_60_from),
            (6 * PASS_SAMPLES, self.rules.pack_120_from),
        ):
            if size >= (threshold if self._wanted < samples else threshold * SHRINK):
                wanted = samples
        self._wanted = wanted
        packing = max(wanted, self._floor)
        if packing == self._packing:
            return []
        self._packing = packing
        return [
            send
            for program in self._programs.values()
            for lane in program.lanes
            for send in self._group_sends(program, lane, lane.packer.set_packing(packing), now)
        ]

    # --------------------------------------------------------------------------- packets

    def rtp_received(self, session: str, packet: bytes, now: float) -> list[Output]:
        """One RTP packet of a publishing session; of others it is ignored."""
        source = self._sources.get(session)
        if source is None:
            return []
        arrival = source.receive(packet, now)
        if arrival is None or source.participant in self._muted:
            return []
        self._reporter.plan(now)
        out: list[Output] = [Heard(source.participant, arrival)]
        loudness = source.loudness.update(arrival.level, now)
        for program in self._programs.values():
            out += self._follow(program, source.participant, arrival, loudness, now)
        return out

    def _follow(
        self, program: Program, participant: str, arrival: Arrival, loudness: float, now: float
    ) -> list[Output]:
        out: list[Output] = []
        before = program.selector.sources
        if program.selector.hear(participant, loudness, now):
            out += self._close_freed(program, before, now)
        number = program.selector.slot_of(participant)
        if (stand_in := program.stand_in) is not None and program.stage:
            if number is None:
                frame = stand_in.hear(participant, arrival, loudness, now)
                return out + self._to_speaker(program, frame)
            stand_in.drop(participant, now)
        if number is None:
            return out
        lane = program.lanes[number]
        frame = lane.slot.place(
            arrival.epoch,
            arrival.sequence,
            arrival.timestamp,
            arrival.samples,
            arrival.marker,
            arrival.payload,
            now,
        )
        if frame is not None:
            out += self._deliver(program, number, frame, participant, now)
        return out

    def _deliver(
        self, program: Program, number: int, frame: Frame, speaker: str | None, now: float
    ) -> list[Output]:
        lane = program.lanes[number]
        out: list[Output] = []
        for listener in program.stage.values():
            if listener.participant == speaker:
                continue
            sent = listener.feeds[number].rtp(frame, listener.payload_type)
            if sent is not None:
                out.append(SendPeer(listener.session, *sent))
        if program.audience:
            out += self._group_sends(program, lane, lane.packer.push(frame, now), now)
        return out

    def _to_speaker(self, program: Program, frame: Frame | None) -> list[Output]:
        """To the one who is heard, in a program of one: what they hear instead of themself."""
        speaker = program.selector.sources[0]
        if frame is None or speaker is None:
            return []
        return [
            SendPeer(listener.session, *sent)
            for listener in program.stage.values()
            if listener.participant == speaker
            and (sent := listener.feeds[0].rtp(frame, listener.payload_type)) is not None
        ]

    def _group_sends(
        self, program: Program, lane: Lane, packets: list[Packed], now: float
    ) -> list[Output]:
        """One packet for those who read nothing in it, and one a language for the others."""
        out: list[Output] = []
        for packed in packets:
            plain = lane.rtp(packed)
            for news, members in program.desk.members.items():
                packet = plain
                if news is not None:
                    payload = program.desk.extend(news, packed.payload, now, lane.slot.timestamp_at)
                    packet = lane.variant(packed, payload)
                spread = 0.0
                if self._packing > PASS_SAMPLES:
                    spread = min(self.rules.spread_s, members * SPREAD_S_PER_MEMBER)
                out.append(SendGroup(program.size, packet, packed.index, spread, news))
        return out

    def _close_freed(
        self, program: Program, before: tuple[str | None, ...], now: float
    ) -> list[Output]:
        out: list[Output] = []
        for number, (was, is_) in enumerate(zip(before, program.selector.sources, strict=True)):
            if was is not None and is_ is None:
                out += self._close_run(program, number, was, now)
        return out

    def _close_run(self, program: Program, number: int, speaker: str, now: float) -> list[Output]:
        """A slot is free: end it with silence, so that players do not take the pause for loss."""
        lane = program.lanes[number]
        end = lane.slot.release(now)
        if end is not None:
            return self._deliver(program, number, end, speaker, now)
        return self._group_sends(program, lane, lane.packer.flush(), now)

    # ------------------------------------------------------------------------------ time

    def tick(self, now: float) -> list[Output]:
        """Do what the clock alone brings; to be called by `deadline`, harmless at any time."""
        out: list[Output] = []
        for program in self._programs.values():
            before = program.selector.sources
            if program.selector.tick(now):
                out += self._close_freed(program, before, now)
            if program.stand_in is not None:
                out += self._to_speaker(program, program.stand_in.tick(now))
            for number, lane in enumerate(program.lanes):
                silent = lane.slot.idle(now)
                if silent is not None:
                    out += self._deliver(program, number, silent, None, now)
                out += self._group_sends(program, lane, lane.packer.tick(now), now)
            out += self._carry(program, now)
        if self._reporter.due(now):
            out += self._reporter.reports(self._programs.values(), self._sources, now)
        return out

    def _carry(self, program: Program, now: float) -> list[Output]:
        """Silence where nothing else is sent that could carry the news."""
        number = program.carrier_lane()
        due = program.desk.carrier_at(program.waits)
        if number is None or due is None or now < due:
            return []
        frame = program.lanes[number].slot.carrier(now)
        assert frame is not None
        return self._deliver(program, number, frame, None, now)

    # ------------------------------------------------------------------------------ news

    @property
    def news_languages(self) -> frozenset[str]:
        """What is read in the sound now."""
        return frozenset(
            news for program in self._programs.values() for news in program.desk.boards
        )

    def bulletin(
        self, news: str, key: str, body: bytes, *, kept: bool, at: float, now: float
    ) -> None:
        """Tell those who read this language in the sound; see `media.bulletin.Board.post`."""
        for program in self._programs.values():
            board = program.desk.boards.get(news)
            if board is not None:
                board.post(key, body, kept=kept, at=at, now=now)

    def set_loss(self, slots: int, news: str, loss: float) -> None:
        """This share of packets is lost on the way to a group's members."""
        program = self._programs.get(slots)
        board = program.desk.boards.get(news) if program is not None else None
        if board is not None:
            board.set_loss(loss)

    def deadline(self) -> float | None:
        """When `tick` has something to do; None while nothing goes on."""
        times = [
            self._reporter.next_at,
            *(program.deadline() for program in self._programs.values()),
        ]
        return min((at for at in times if at is not None), default=None)

    # ------------------------------------------------------------------------------ RTCP

    def rtcp_received(self, session: str, packet: bytes, now: float) -> list[Output]:
        """One compound RTCP packet of a session. Raises RtcpError where it is malformed."""
        out: list[Output] = []
        source = self._sources.get(session)
        _, listener = self._listeners.get(session, (None, None))
        for message in rtcp.parse(packet):
            if source is not None and isinstance(message, SenderReport):
                source.sender_report(message, now)
            elif listener is not None and listener.on_stage:
                out += self._reporter.received(listener, message, now)
        return out
