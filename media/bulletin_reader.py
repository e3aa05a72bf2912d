"""The other end of `media.bulletin`: news out of packets, messages put together. Pure.

`signaling/web/js/news_reader.js` does the same in the page; both are tested by the same vectors.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass, field

from media.bulletin import DIGEST, EXTENSION_ID, KEPT, LABEL, MAX_MESSAGE_BYTES, PART
from media.opus import OpusError
from media.padding import PaddingError, extensions_of

MAX_OPEN = 64
"""Messages under way at once."""
MAX_REMEMBERED = 512

_PART = struct.Struct("!BIHIHH")


@dataclass(frozen=True, slots=True)
class Told:
    """One whole message. `rtp_time` is on the clock of the stream that brought it."""

    id: int
    revision: int
    kept: bool
    rtp_time: int
    body: bytes


@dataclass(slots=True)
class _Open:
    data: bytearray
    missing: int
    have: bytearray = field(default_factory=bytearray)


class NewsReader:
    """One listener. `malformed` counts news that broke the format."""

    def __init__(self) -> None:
        self.language: str | None = None
        self.malformed = 0
        self._edition: int | None = None
        self._begin()

    def _begin(self) -> None:
        """Another edition: its numbers begin anew."""
        self._open: OrderedDict[tuple[bool, int, int], _Open] = OrderedDict()
        self._done: OrderedDict[tuple[bool, int, int], None] = OrderedDict()
        self._newest: OrderedDict[int, int] = OrderedDict()
        self._seen: set[int] = set()
        self._latest = 0
        self._heard = False
        self._base: int | None = None

    @property
    def missing(self) -> bool:
        """Whether kept messages are known of and not there (yet). True from the first digest
        until `caught_up`: what was before is not known."""
        return self._heard and (self._base is None or self._latest > self._base)

    @property
    def latest(self) -> int:
        """Id of the newest kept message heard of: to be given to `caught_up` by who asks for
        what is missing after it was read here."""
        return self._latest

    def caught_up(self, latest: int) -> None:
        """Everything up to this id was had by another way."""
        self._base = max(latest, self._base or 0)
        self._advance()

    def packet(self, packet: bytes) -> list[Told]:
        """The messages that an Opus packet completes."""
        try:
            extensions = extensions_of(packet)
        except (OpusError, PaddingError):
            return []
        out: list[Told] = []
        for one in extensions:
            if one.id == EXTENSION_ID and one.data.startswith(LABEL):
                out += self.take(one.data)
        return out

    def take(self, news: bytes) -> list[Told]:
        """The messages that the news of one packet complete."""
        out: list[Told] = []
        if len(news) < 5 or len(news) < 5 + news[4]:
            self.malformed += 1
            return out
        edition = news[2] << 8 | news[3]
        language = news[5 : 5 + news[4]].decode("ascii", "replace")
        if (edition, language) != (self._edition, self.language):
            self._begin()
            self._edition, self.language = edition, language
        position = 5 + news[4]
        while position < len(news):
            if position + 3 > len(news):
                self.malformed += 1
                break
            kind, size = news[position], news[position + 1] << 8 | news[position + 2]
            record = news[position + 3 : position + 3 + size]
            position += 3 + size
            if len(record) < size:
                self.malformed += 1
                break
            if kind == DIGEST and size >= 4:
                self._latest = max(self._latest, int.from_bytes(record[:4], "big"))
                self._heard = True
            elif kind == PART and size >= _PART.size:
                told = self._part(record)
                if told is not None:
                    out.append(told)
        return out

    def _part(self, record: bytes) -> Told | None:
        flags, number, revision, rtp_time, total, offset = _PART.unpack_from(record)
        data = record[_PART.size :]
        kept = bool(flags & KEPT)
        key = (kept, number, revision)
        if offset + len(data) > total or not 0 < total <= MAX_MESSAGE_BYTES:
            self.malformed += 1
            return None
        if key in self._done:
            return None
        if not kept and not _newer(revision, self._newest.get(number)):
            return None
        one = self._open.get(key)
        if one is None or len(one.data) != total:
            one = self._open[key] = _Open(bytearray(total), total, bytearray(total))
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)
        fresh = one.have.count(0, offset, offset + len(data))
        one.data[offset : offset + len(data)] = data
        one.have[offset : offset + len(data)] = b"\1" * len(data)
        one.missing -= fresh
        if one.missing:
            return None
        del self._open[key]
        self._done[key] = None
        if len(self._done) > MAX_REMEMBERED:
            self._done.popitem(last=False)
        if kept:
            self._seen.add(number)
            self._latest = max(self._latest, number)
            self._advance()
        else:
            self._newest[number] = revision
            if len(self._newest) > MAX_REMEMBERED:
                self._newest.popitem(last=False)
        return Told(number, revision, kept, rtp_time, bytes(one.data))

    def _advance(self) -> None:
        if self._base is None:
            return
        while self._base + 1 in self._seen:
            self._base += 1
        self._seen = {number for number in self._seen if number > self._base}


def _newer(revision: int, known: int | None) -> bool:
    return known is None or 0 < (revision - known & 0xFFFF) < 0x8000
