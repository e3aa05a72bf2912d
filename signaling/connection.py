"""One WebSocket as the rooms see it: who is behind it, and a bounded way out."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from aiohttp import web

from chatroom.protocol import ErrorReply, Event, Reply, Welcome
from chatroom.roles import Role
from signaling.tokens import Claims
from signaling.views import Fanout, cursor_key, envelope_frame

log = logging.getLogger(__name__)

CLOSE_GOING_AWAY = 1001
CLOSE_POLICY = 1008
CLOSE_UNAUTHORIZED = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_NOT_FOUND = 4404
CLOSE_ENDED = 4410
CLOSE_TOO_MANY = 4429
CLOSE_UNAVAILABLE = 4503

CLOSE_CODES = {
    CLOSE_GOING_AWAY: "the server is stopping; come back with the cursor",
    CLOSE_POLICY: "messages that cannot be understood, repeatedly, or no `hello`",
    CLOSE_UNAUTHORIZED: "no good token: join again",
    CLOSE_FORBIDDEN: "the token is for another room, or the participant was removed",
    CLOSE_NOT_FOUND: "no such room",
    CLOSE_ENDED: "the room has ended",
    CLOSE_TOO_MANY: "commands too quickly, repeatedly",
    CLOSE_UNAVAILABLE: "Redis cannot be reached; come back with the cursor",
}
"""Close codes with their meaning, for the protocol's page."""


@dataclass(slots=True)
class SocketStats:
    """Counters over all sockets since the start."""

    opened: int = 0
    frames: int = 0
    bytes: int = 0
    skipped: int = 0
    """Transient frames left out for clients that do not keep up."""
    cut: int = 0
    """Clients cut off because they did not read."""


class Connection:
    """A WebSocket after its hello. Frames are written to the transport at once, in one piece, so
    they never mix with what aiohttp writes (pings, pongs, the close frame)."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        claims: Claims,
        captions: str | None,
        *,
        buffer_bytes: int,
        stats: SocketStats,
    ) -> None:
        self.claims = claims
        self.captions = captions
        self.role = claims.role
        self.participant = claims.participant
        self.in_sound = False
        """Whether the client reads captions and passing news in the sound."""
        self.behind = False
        """Whether something transient was left out since it last kept up."""
        self._socket = socket
        self._transport = transport
        self._hard = buffer_bytes
        self._soft = buffer_bytes // 4
        self._stats = stats
        self._waiting: list[tuple[str | None, bytes, bool]] | None = []
        self._last: tuple[int, int] | None = None
        self._closing: asyncio.Task[object] | None = None

    # ------------------------------------------------------------------ what goes out

    def deliver(self, fanout: Fanout, cursor: str | None) -> None:
        """An event, if it is for this reader. Held back until `catch_up`."""
        if self.in_sound and fanout.in_sound and self.role is Role.LISTENER:
            return
        frame = fanout.frame(self)
        if frame is None:
            return
        if self._waiting is not None:
            self._waiting.append((cursor, frame, fanout.transient))
            return
        self._write_event(cursor, frame, fanout.transient)

    def catch_up(self, missed: list[tuple[str, Event]], after: str) -> None:
        """Send what was missed up to now, then what came while that was looked up, each stored
        event once; from now on events are written as they come."""
        self._last = cursor_key(after)
        for cursor, event in missed:
            frame = Fanout(event, cursor).frame(self)
            if frame is not None:
                self._owe(frame)
                self._write_event(cursor, frame, transient=False)
        waiting, self._waiting = self._waiting or [], None
        for waited_cursor, frame, transient in waiting:
            self._write_event(waited_cursor, frame, transient)

    def reply(self, message: Reply | Event) -> None:
        """Something for this socket alone."""
        self._write(envelope_frame(message))

    def introduce(self, message: Welcome) -> None:
        """The state at the beginning."""
        frame = envelope_frame(message)
        self._owe(frame)
        self._write(frame)

    def _owe(self, frame: bytes) -> None:
        """What everybody gets who comes is no sign of slowness, however much it is: cut off for
        it, they would come back for the same for ever."""
        self._hard += len(frame)

    def keeps_up(self) -> bool:
        """Whether little is waiting to be read by the client."""
        return self._transport.get_write_buffer_size() <= self._soft

    def _write_event(self, cursor: str | None, frame: bytes, transient: bool) -> None:
        if cursor is not None:
            key = cursor_key(cursor)
            if self._last is not None and key <= self._last:
                return
            self._last = key
        if transient and not self.keeps_up():
            self.behind = True
            self._stats.skipped += 1
            return
        self._write(frame)

    def _write(self, frame: bytes) -> None:
        if self._transport.is_closing() or self._closing is not None:
            return
        if self._transport.get_write_buffer_size() + len(frame) > self._hard:
            # It has not read for a while. What is cut off here comes back with its cursor.
            self._stats.cut += 1
            self._transport.abort()
            return
        self._transport.write(frame)
        self._stats.frames += 1
        self._stats.bytes += len(frame)

    # ------------------------------------------------------------------------ the end

    def fail(self, error: ErrorReply, close_code: int) -> None:
        """Tell the reason and close."""
        self.reply(error)
        self.close(close_code, error.code)

    def close(self, code: int, reason: str) -> None:
        """Begin closing; the rest happens in the background."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(
                self._socket.close(code=code, message=reason.encode()[:100])
            )

    async def closed(self) -> None:
        """Wait until a close that was begun has ended, at most 2 s."""
        if self._closing is not None:
            await asyncio.wait({self._closing}, timeout=2.0)

    def set_role(self, role: Role) -> bool:
        """Whether the role is another than before."""
        changed = role is not self.role
        self.role = role
        return changed
