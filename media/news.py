"""News of one program's audience: who reads which language in the sound, and one board a
language. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable

from media import padding
from media.bulletin import EXTENSION_ID, Board
from media.padding import Extension

MAX_PAYLOAD_BYTES = 1160
"""Of a packet with news: a datagram of 1,200 bytes with RTP's header and the longest tag."""
CARRIER_EVERY_S = 0.06
"""Silence carries news no more often than this."""


class Desk:
    """Groups exist for the languages that somebody reads, and for those who read none."""

    def __init__(self, rng: random.Random) -> None:
        self.members: dict[str | None, int] = {}
        """How many of the audience read what; None for nothing."""
        self.boards: dict[str, Board] = {}
        self._rng = rng
        self._sent_at = float("-inf")

    def join(self, news: str | None, now: float) -> None:
        self.members[news] = self.members.get(news, 0) + 1
        if news is not None and news not in self.boards:
            self.boards[news] = Board(news, self._rng.randrange(1 << 16), now)

    def leave(self, news: str | None) -> None:
        self.members[news] -= 1
        if not self.members[news]:
            del self.members[news]
            if news is not None:
                del self.boards[news]

    def extend(
        self, news: str, payload: bytes, now: float, rtp_time: Callable[[float], int]
    ) -> bytes:
        """An Opus packet with what there is to say in this language."""
        self._sent_at = now
        room = padding.room_in(payload, MAX_PAYLOAD_BYTES)
        said = self.boards[news].take(room, now, rtp_time) if room else b""
        return padding.attach(payload, [Extension(EXTENSION_ID, said)]) if said else payload

    def carrier_at(self, wait_s: float) -> float | None:
        """When silence has to carry the news, if nothing leaves before that; `wait_s` is how
        long a packet that is expected may take."""
        if not self.boards:
            return None
        due = min(board.deadline() for board in self.boards.values())
        if wait_s:
            return max(due, self._sent_at) + wait_s + CARRIER_EVERY_S
        return max(due, self._sent_at + CARRIER_EVERY_S)
