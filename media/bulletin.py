"""What a whole audience is told in the sound: a broadcast without a way back. Pure.

One `Board` a caption language and program: messages in, bytes for the packets that leave anyway
out. It is UDP, so a message is said several times, in packets some time apart, and once a second
a digest names the newest message that must not be missed; who misses one fetches it elsewhere
(docs/in-band.md has the format and what a player does). All numbers are big-endian.

    news      label "N", version 1, edition: 2 bytes, language: 1 byte of length and ASCII, records
    record    kind: 1 byte, size of the rest: 2 bytes, the rest; unknown kinds are skipped
    kind 1    part of a message: flags 1 (bit 0: kept), id 4, revision 2, RTP time 4,
              total size 2, offset 2, bytes
    kind 2    digest: id of the newest kept message 4 (0: none yet)
"""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

EXTENSION_ID = 122
"""Of the Opus extensions; nobody's, so that the label has to tell whose it is."""
LABEL = b"N\x01"
PART, DIGEST = 1, 2
KEPT = 1
MAX_MESSAGE_BYTES = 16 * 1024
MAX_NEWS_BYTES = 1000
"""In one packet."""
DIGEST_EVERY_S = 0.8
"""Below the second after which libwebrtc takes a pause for loss: in a long silence the digests
are all that is sent."""
SPACING_S = (0.09, 0.15, 0.24, 0.4, 0.6)
"""Between copies of a message: longer than bursts of loss."""
MISSED = 1e-3
"""The share of kept messages that may be missed in spite of the copies."""
MAX_COPIES = 6
MAX_KEYS = 256
MIN_PART_BYTES = 48
"""Parts smaller than this wait for a packet with more room, unless they are a message's end."""

_PART = struct.Struct("!BHBIHIHH")
_DIGEST = struct.Struct("!BHI")


@dataclass(slots=True)
class _Item:
    """A message on its way. `at`: the moment that it is about, on the clock of `now`."""

    key: str
    id: int
    revision: int
    body: bytes
    at: float
    kept: bool
    left: int
    """Copies to be sent, the present one included."""
    due: float
    copy: int = 0
    offset: int = 0
    """Where the present copy goes on."""


def copies(loss: float) -> int:
    """How often a message is said where this share of packets is lost."""
    if loss <= 0:
        return 2
    return max(2, min(MAX_COPIES, math.ceil(math.log(MISSED) / math.log(min(loss, 0.9)))))


class Board:
    """`edition` (16 bits) tells numbers apart from those of a board before."""

    def __init__(self, language: str, edition: int, now: float) -> None:
        self.language = language
        self.edition = edition
        self.latest = 0
        """Id of the newest kept message."""
        self._items: dict[str, _Item] = {}
        self._last: OrderedDict[str, tuple[int, int, bytes]] = OrderedDict()
        """Id, revision and text of what is said under a key."""
        self._ids = 0
        self._copies = copies(0.0)
        self._digest_at = now
        tag = language.encode("ascii")[:255]
        self._head = LABEL + struct.pack("!HB", edition, len(tag)) + tag

    def set_loss(self, loss: float) -> None:
        """Readers report that this share of packets is lost."""
        self._copies = copies(loss)

    def post(self, key: str, body: bytes, *, kept: bool, at: float, now: float) -> None:
        """Say something. A message that is not kept takes the place of an earlier one under its
        key, and is only said once more where it says the same; a kept one ends the key. Raises
        ValueError for more than 16 KiB."""
        if not 0 < len(body) <= MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(body)} bytes; 1 to {MAX_MESSAGE_BYTES} go")
        if kept:
            self._items.pop(key, None)
            self._last.pop(key, None)
            self.latest += 1
            name = f"{self.latest}\0"
            item = _Item(name, self.latest, 0, body, at, True, self._copies, now)
            self._items[name] = item
            self._digest_at = min(self._digest_at, now + DIGEST_EVERY_S / 2)
            return
        number, revision, before = self._last.get(key, (0, -1, b""))
        if before == body:
            self._last.move_to_end(key)
            if key not in self._items:
                self._items[key] = _Item(key, number, revision, body, at, False, 1, now)
            return
        if not number:
            self._ids = number = self._ids % 0xFFFF_FFFF + 1
        revision = (revision + 1) & 0xFFFF
        self._last[key] = (number, revision, body)
        self._last.move_to_end(key)
        if len(self._last) > MAX_KEYS:
            self._last.popitem(last=False)
        left = max(1, self._copies - 1)
        self._items[key] = _Item(key, number, revision, body, at, False, left, now)

    def take(self, room: int, now: float, rtp_time: Callable[[float], int]) -> bytes:
        """The news for a packet with `room` bytes for them, empty where there is nothing to say
        or no room. `rtp_time` turns moments into the packet's stream's RTP time."""
        room = min(room, MAX_NEWS_BYTES) - len(self._head)
        records: list[bytes] = []
        if now >= self._digest_at and room >= _DIGEST.size:
            records.append(_DIGEST.pack(DIGEST, 4, self.latest))
            room -= _DIGEST.size
            self._digest_at = now + DIGEST_EVERY_S
        for item in self._due(now):
            room = self._say(item, room, now, rtp_time, records)
            if room < _PART.size + MIN_PART_BYTES:
                break
        return self._head + b"".join(records) if records else b""

    def _due(self, now: float) -> Iterable[_Item]:
        """New messages before copies, kept ones first; what was begun goes on."""
        due = [item for item in self._items.values() if item.due <= now]
        return sorted(due, key=lambda i: (i.offset == 0, i.copy, not i.kept, i.due))

    def _say(
        self,
        item: _Item,
        room: int,
        now: float,
        rtp_time: Callable[[float], int],
        records: list[bytes],
    ) -> int:
        rest = len(item.body) - item.offset
        size = min(rest, room - _PART.size)
        if size < min(rest, MIN_PART_BYTES):
            return room
        data = item.body[item.offset : item.offset + size]
        head = _PART.pack(
            PART,
            _PART.size - 3 + size,
            KEPT if item.kept else 0,
            item.id,
            item.revision,
            rtp_time(item.at) & 0xFFFF_FFFF,
            len(item.body),
            item.offset,
        )
        records.append(head + data)
        item.offset += size
        if item.offset == len(item.body):
            item.offset = 0
            item.left -= 1
            item.due = now + SPACING_S[min(item.copy, len(SPACING_S) - 1)]
            item.copy += 1
            if item.left <= 0:
                del self._items[item.key]
        return room - _PART.size - size

    def deadline(self) -> float:
        """When there is something to say."""
        return min([self._digest_at, *(item.due for item in self._items.values())])
