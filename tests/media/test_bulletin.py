"""The broadcast in the sound: what is said, how often, and what a reader makes of it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import bulletin, padding
from media.bulletin import Board
from media.bulletin_reader import NewsReader, Told
from tests.netem import Netem

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "in_band.json").read_text())["news"]


def clock(at: float) -> int:
    return round(at * 48_000)


def listen(board: Board, reader: NewsReader, room: int, start: float, seconds: float) -> list[Told]:
    out: list[Told] = []
    for number in range(round(seconds * 50)):
        news = board.take(room, start + number * 0.02, clock)
        assert len(news) <= room
        if news:
            out += reader.take(news)
    return out


def test_news_are_read_as_the_vectors_say() -> None:
    reader = NewsReader()
    told = [one for news in VECTORS["packets"] for one in reader.take(bytes.fromhex(news))]
    assert [
        {
            "id": one.id,
            "revision": one.revision,
            "kept": one.kept,
            "rtpTime": one.rtp_time,
            "text": one.body.decode(),
        }
        for one in told
    ] == VECTORS["told"]
    assert (reader.language, reader.latest) == (VECTORS["language"], VECTORS["latest"])
    assert (reader.missing, reader.malformed) == (VECTORS["missing"], VECTORS["malformed"])


def test_a_message_is_said_at_once_and_again_and_then_no_more() -> None:
    board = Board("en", 1, 0.0)
    board.take(1000, 0.0, clock)
    board.post("stage", b"who", kept=False, at=0.0, now=0.1)
    board.post("caption", b"words", kept=True, at=0.05, now=0.1)
    said = [
        (round(n * 0.02, 2), board.take(1000, n * 0.02, clock).count(b"words"))
        for n in range(5, 200)
    ]
    times = [at for at, count in said if count]
    assert times[0] == 0.1
    assert len(times) == bulletin.copies(0.0)
    assert times[1] - times[0] >= 0.08


def test_a_newer_message_under_the_same_key_takes_the_place_of_the_older() -> None:
    board, reader = Board("en", 1, 0.0), NewsReader()
    for text in (b"I", b"I am", b"I am here"):
        board.post("u1", text, kept=False, at=0.0, now=0.0)
    told = listen(board, reader, 1000, 0.0, 1.0)
    assert [(one.revision, one.body) for one in told] == [(2, b"I am here")]
    board.post("u1", b"I am here.", kept=True, at=0.0, now=1.0)
    told = listen(board, reader, 1000, 1.0, 3.0)
    assert [(one.kept, one.id, one.body) for one in told] == [(True, 1, b"I am here.")]


def test_the_same_again_is_said_once_and_read_as_the_same() -> None:
    board, reader = Board("en", 1, 0.0), NewsReader()
    board.post("stage", b"who", kept=False, at=0.0, now=0.0)
    assert len(listen(board, reader, 1000, 0.0, 2.0)) == 1
    board.post("stage", b"who", kept=False, at=2.0, now=2.0)
    said = [board.take(1000, 2.0 + n * 0.02, clock) for n in range(50)]
    assert sum(b"who" in one for one in said) == 1
    assert [told for one in said if one for told in reader.take(one)] == []


@given(st.integers(80, 1200), st.binary(min_size=1, max_size=3000), st.integers(0, 1 << 30))
def test_long_messages_are_split_to_fit_and_put_together(room: int, body: bytes, seed: int) -> None:
    board, reader = Board("zh-Hans", 9, 0.0), NewsReader()
    board.post("a", body, kept=True, at=0.0, now=0.0)
    packets = [news for n in range(120) if (news := board.take(room, n * 0.02, clock))]
    assert max(map(len, packets)) <= min(room, bulletin.MAX_NEWS_BYTES)
    random.Random(seed).shuffle(packets)
    told = [one for news in packets for one in reader.take(news)]
    assert [one.body for one in told] == [body]


def test_nothing_is_said_where_there_is_no_room() -> None:
    board = Board("en", 1, 0.0)
    board.post("a", b"x" * 400, kept=True, at=0.0, now=0.0)
    assert board.take(5, 0.0, clock) == b""
    assert board.deadline() <= 0.0


def test_a_message_may_not_be_empty_or_huge() -> None:
    board = Board("en", 1, 0.0)
    for body in (b"", bytes(bulletin.MAX_MESSAGE_BYTES + 1)):
        with pytest.raises(ValueError, match="a message of"):
            board.post("a", body, kept=True, at=0.0, now=0.0)


def test_more_is_said_where_more_is_lost() -> None:
    assert [bulletin.copies(loss) for loss in (0.0, 0.01, 0.05, 0.2, 0.6)] == [2, 2, 3, 5, 6]


def test_a_reader_that_comes_late_or_missed_something_knows_it() -> None:
    board, reader = Board("en", 1, 0.0), NewsReader()
    board.post("a", b"before", kept=True, at=0.0, now=0.0)
    for number in range(100):
        board.take(1000, number * 0.02, clock)
    assert listen(board, reader, 1000, 2.0, 2.0) == []
    assert reader.missing
    reader.caught_up(reader.latest)
    assert not reader.missing
    board.post("b", b"missed", kept=True, at=4.0, now=4.0)
    for number in range(20):
        board.take(1000, 4.0 + number * 0.02, clock)
    listen(board, reader, 1000, 4.4, 2.0)
    assert reader.missing
    # Another edition: nothing of what was before holds.
    other = Board("en", 2, 6.0)
    listen(other, reader, 1000, 6.0, 1.0)
    assert reader.missing
    assert reader.latest == 0


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_counted(news: bytes) -> None:
    reader = NewsReader()
    reader.take(news)
    reader.take(bulletin.LABEL + b"\0\1\0" + news)
    reader.packet(news)


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("packet_ms", [20, 120])
def test_every_final_caption_arrives_whatever_the_loss(loss: float, packet_ms: int) -> None:
    """Two updates a second for a minute, partial and final, against seeded loss; what is missed
    is asked for as the page does, a second after the digest told of it."""
    rng = random.Random(5)
    board, reader = Board("pt", 3, 0.0), NewsReader()
    board.set_loss(loss)
    network: Netem[bytes] = Netem(11, loss=loss, delay_s=0.04, jitter_s=0.02)
    kept: list[bytes] = []
    got: dict[bytes, float] = {}
    posted: dict[bytes, float] = {}
    missing_since: float | None = None
    fetched = 0
    packet = b"\xfb\x03" + bytes(240)
    for step in range(round(65_000 / packet_ms)):
        now = step * packet_ms / 1000
        if now < 60 and now % 0.5 < packet_ms / 1000:
            final = rng.random() < 0.3
            body = f"{now:.2f} {'x' * rng.randrange(150, 500)}".encode()
            board.post("u", body, kept=final, at=now - 0.8, now=now)
            if final:
                kept.append(body)
                posted[body] = now
        news = board.take(700, now, clock)
        if news:
            extended = padding.attach(packet, [padding.Extension(122, news)])
            network.send(extended, now)
        for at, arrived in network.receive(now):
            for told in reader.packet(arrived):
                if told.kept:
                    got.setdefault(told.body, at)
        if not reader.missing:
            missing_since = None
        elif missing_since is None:
            missing_since = now
        elif now - missing_since > 1.0:
            fetched += 1
            for body in kept[: reader.latest]:
                got.setdefault(body, now)
            reader.caught_up(reader.latest)
            missing_since = None
    assert set(got) == set(kept)
    assert len(kept) > 20
    delays = sorted(got[body] - posted[body] for body in kept)
    assert delays[len(delays) // 2] < 0.2
    assert delays[-1] < 3.0
    # The first for what was before; then hardly anything.
    assert fetched <= 1 + len(kept) // 10
