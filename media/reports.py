"""RTCP of one room: sender reports out, reception told to publishers, what the stage reports."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from media import opus, rtcp
from media.instructions import Output, ReportGroup, ReportPeer, SendPeer
from media.program import HISTORY_PACKETS, Listener, Program, Reported
from media.rtcp import Nack, ReceiverReport, ReportBlock, RtcpMessage
from media.source import Source

MAX_RTT_MS = 10_000.0


class Reporter:
    """`epoch_offset` is Unix time minus the clock that `now` is on; `ssrc` is our own as the
    receiver of what publishers send."""

    def __init__(
        self, ssrc: int, cname: str, interval_s: float, epoch_offset: float, rng: random.Random
    ) -> None:
        self.next_at: float | None = None
        """When reports are due; None while there was no packet to report since the last."""
        self._ssrc = ssrc
        self._cname = cname
        self._interval = interval_s
        self._epoch_offset = epoch_offset
        self._rng = rng

    def plan(self, now: float) -> None:
        """There is something to report, sooner or later."""
        if self.next_at is None:
            # Not all rooms in the same instant.
            self.next_at = now + self._interval * self._rng.uniform(0.5, 1.0)

    def due(self, now: float) -> bool:
        return self.next_at is not None and now >= self.next_at

    def reports(
        self, programs: Iterable[Program], sources: Mapping[str, Source], now: float
    ) -> list[Output]:
        """Sender reports for what was sent and receiver reports for what came since the last
        time."""
        self.next_at = None
        unix = now + self._epoch_offset
        out: list[Output] = []
        for program in programs:
            for number, lane in enumerate(program.lanes):
                report = lane.report(now, unix)
                if report is not None and program.audience:
                    packet = rtcp.build_sender_report(report, self._cname)
                    out.append(ReportGroup(program.size, packet))
                for listener in program.stage.values():
                    report = listener.feeds[number].report(lane.slot, now, unix)
                    if report is not None:
                        packet = rtcp.build_sender_report(report, self._cname)
                        out.append(ReportPeer(listener.session, packet))
        for session, source in sources.items():
            block = source.report(now)
            if block is not None:
                receiver_report = ReceiverReport(self._ssrc, (block,))
                packet = rtcp.build_receiver_report(receiver_report, self._cname)
                out.append(ReportPeer(session, packet))
        return out

    def received(self, listener: Listener, message: RtcpMessage, now: float) -> list[Output]:
        """What somebody on stage says: reports are kept, lost packets sent again."""
        if isinstance(message, ReceiverReport):
            for block in message.blocks:
                self._note(listener, block, now)
        elif isinstance(message, Nack):
            for feed in listener.feeds:
                if feed.ssrc == message.media_ssrc:
                    again = [feed.again(number) for number in message.sequences[:HISTORY_PACKETS]]
                    return [SendPeer(listener.session, *sent) for sent in again if sent]
        return []

    def _note(self, listener: Listener, block: ReportBlock, now: float) -> None:
        if all(block.ssrc != feed.ssrc for feed in listener.feeds):
            return
        rtt: float | None = None
        if block.last_report:
            unix = rtcp.middle(rtcp.ntp_time(now + self._epoch_offset))
            rtt = (unix - block.last_report - block.delay & 0xFFFF_FFFF) / 65.536
        listener.reported[block.ssrc] = Reported(
            block.fraction_lost / 256,
            block.packets_lost,
            block.jitter * 1000 / opus.SAMPLE_RATE,
            rtt if rtt is not None and rtt < MAX_RTT_MS else None,
        )
