"""News in the sound of a room: who gets them, in which packets, and what is heard of it."""

from __future__ import annotations

import random

from media import opus, padding
from media.bulletin_reader import NewsReader, Told
from media.forward import Rules
from media.instructions import SendGroup
from media.news import MAX_PAYLOAD_BYTES, Desk
from tests.media.test_forward import PT_STAGE, QUIET, SPEECH, Stage, said


def join(room: Stage, session: str, news: str | None, slots: int = 3) -> None:
    room.run(
        room.forwarder.add_listener(
            session, session, slots, PT_STAGE, on_stage=False, now=room.now, news=news
        )
    )


def tell(room: Stage, news: str, text: str, *, kept: bool = True, key: str = "k") -> None:
    room.forwarder.bulletin(news, key, text.encode(), kept=kept, at=room.now, now=room.now)
    room.tick()


def read(room: Stage, session: str) -> list[Told]:
    """Everything that one reader makes of all streams, by time."""
    reader = NewsReader()
    gots = [got for stream in room.got[session].values() for got in stream]
    return [told for got in gots for told in reader.packet(got.payload)]


def texts(room: Stage, session: str) -> list[str]:
    return [told.body.decode() for told in read(room, session)]


def test_each_language_has_its_own_news_and_the_same_sound() -> None:
    room = Stage()
    room.publish("a")
    for session, news in (("pt", "pt"), ("de", "de"), ("bare", ""), ("plain", None)):
        join(room, session, news)
    assert room.forwarder.news_languages == {"pt", "de", ""}
    room.talk(0.2, a=SPEECH)
    for news in ("pt", "de", "", "fr"):
        tell(room, news, f"news in {news}")
    room.talk(1, a=SPEECH)
    for session, news in (("pt", "pt"), ("de", "de"), ("bare", "")):
        assert texts(room, session) == [f"news in {news}"]
    assert texts(room, "plain") == []
    for session in ("pt", "de", "bare", "plain"):
        room.check_stream(session)
        heard = [opus.parse(got.payload) for got in next(iter(room.got[session].values()))]
        plain = [opus.parse(got.payload) for got in next(iter(room.got["plain"].values()))]
        assert heard == plain
        assert room.words(session) == said("a", range(60))
    assert all(not padding.padding_of(got.payload) for got in room.got["plain"].popitem()[1])


def test_changing_the_language_leaves_no_gap() -> None:
    room = Stage(Rules(pack_60_from=2))
    room.publish("a")
    join(room, "x", "pt")
    join(room, "y", None)
    for news in ("de", None, "", "pt", "de"):
        room.talk(0.5, a=SPEECH)
        room.run(room.forwarder.set_news("x", news, room.now))
        if news is not None:
            tell(room, news, f"now {news}")
    room.talk(0.62, a=SPEECH)
    for session in ("x", "y"):
        room.check_stream(session)
        assert room.words(session) == said("a", range(room.spoken["a"]))
    assert [text for text in texts(room, "x") if text.startswith("now ")] == [
        "now de",
        "now ",
        "now pt",
        "now de",
    ]
    assert room.forwarder.set_news("gone", "pt", room.now) == []
    assert room.forwarder.set_news("x", "de", room.now) == []


def test_on_stage_nothing_is_told_and_back_in_the_audience_it_goes_on() -> None:
    room = Stage()
    room.publish("a")
    join(room, "x", "pt")
    room.talk(0.3, a=SPEECH)
    room.run(room.forwarder.set_stage(frozenset({"x"}), room.now))
    assert room.forwarder.news_languages == set()
    tell(room, "pt", "not in the sound")
    assert room.forwarder.set_news("x", "de", room.now) == []
    room.talk(0.3, a=SPEECH)
    room.run(room.forwarder.set_stage(frozenset(), room.now))
    assert room.forwarder.news_languages == {"de"}
    tell(room, "de", "in the sound")
    room.talk(0.3, a=SPEECH)
    assert texts(room, "x") == ["in the sound"]
    room.check_stream("x")


def test_silence_carries_the_news_before_anybody_spoke() -> None:
    for slots in (1, 3):
        room = Stage()
        join(room, "x", "pt", slots)
        join(room, "y", None, slots)
        tell(room, "pt", "stage")
        room.wait(0.1)
        assert texts(room, "x") == ["stage"]
        room.wait(20)
        # The digest, no more than that.
        (gots,) = room.got["x"].values()
        assert 20 <= len(gots) <= 32
        for session in ("x", "y"):
            room.check_stream(session)
            assert {
                len(opus.parse(got.payload).frames[0]) for got in room.got[session].popitem()[1]
            } == {0}


def test_silence_carries_the_news_in_a_pause_and_keeps_to_the_clock() -> None:
    room = Stage(Rules(pack_60_from=1))
    room.publish("a")
    join(room, "x", "pt")
    room.talk(1, a=SPEECH)
    room.wait(3)
    tell(room, "pt", "in the pause")
    before = len(room.got["x"].popitem()[1])
    assert before
    room.got.clear()
    room.wait(0.2)
    assert texts(room, "x") == ["in the pause"]
    room.wait(5)
    room.talk(1, a=SPEECH)
    room.wait(2)
    room.check_stream("x")
    gots = max(room.got["x"].values(), key=len)
    elapsed = (gots[-1].timestamp - gots[0].timestamp & 0xFFFF_FFFF) / 48_000
    assert abs(elapsed - 8.0) < 1.2


def test_news_ride_with_who_talks_and_need_no_carrier() -> None:
    for packing in (Rules(), Rules(pack_60_from=1), Rules(pack_60_from=1, pack_120_from=1)):
        room = Stage(packing)
        room.publish("a")
        join(room, "x", "pt")
        room.talk(0.5, a=SPEECH)
        room.got.clear()
        for number in range(4):
            tell(room, "pt", f"{number}" * 300)
            room.talk(0.5, a=SPEECH)
        assert len(room.got["x"]) == 1
        assert len(texts(room, "x")) == 4
        assert max(len(got.payload) for got in room.got["x"].popitem()[1]) <= MAX_PAYLOAD_BYTES


def test_with_every_slot_held_by_somebody_silent_news_wait_for_a_packet() -> None:
    room = Stage(Rules(slots=1))
    room.publish("a")
    join(room, "x", "pt", 1)
    room.talk(0.5, a=SPEECH)
    tell(room, "pt", "soon")
    room.talk(3, a=QUIET)
    assert texts(room, "x") == ["soon"]
    room.check_stream("x")


def test_the_time_of_the_words_is_that_of_the_stream() -> None:
    room = Stage()
    room.publish("a")
    join(room, "x", "pt")
    room.talk(2, a=SPEECH)
    room.forwarder.bulletin("pt", "u", b"said before", kept=True, at=room.now - 1.5, now=room.now)
    room.talk(0.5, a=SPEECH)
    (gots,) = room.got["x"].values()
    (told,) = read(room, "x")
    at = (told.rtp_time - gots[0].timestamp & 0xFFFF_FFFF) / 48_000
    assert abs(at - 0.5) < 0.05


def test_a_packet_that_is_no_opus_and_one_that_is_full_go_as_they_are() -> None:
    desk = Desk(random.Random(1))
    desk.join("pt", 0.0)
    desk.boards["pt"].post("k", b"text", kept=True, at=0.0, now=0.0)
    broken, full = b"\xff\x00", b"\xf8" + bytes(MAX_PAYLOAD_BYTES)
    for packet in (broken, full):
        assert desk.extend("pt", packet, 0.0, round) == packet
    assert desk.extend("pt", b"\xf8abc", 0.0, round) != b"\xf8abc"
    desk.leave("pt")
    assert desk.boards == {}
    assert desk.carrier_at(0.0) is None


def test_losing_readers_are_told_more_often() -> None:
    sent = []
    for loss in (0.0, 0.2):
        room = Stage()
        room.publish("a")
        join(room, "x", "pt")
        room.talk(0.5, a=SPEECH)
        room.forwarder.set_loss(3, "pt", loss)
        room.forwarder.set_loss(2, "fr", loss)
        tell(room, "pt", "words")
        room.talk(3, a=SPEECH)
        (gots,) = room.got["x"].values()
        sent.append(sum(b"words" in got.payload for got in gots))
    assert sent == [2, 5]


def test_nobody_who_reads_costs_nothing() -> None:
    room = Stage()
    room.publish("a")
    join(room, "x", None)
    room.talk(0.5, a=SPEECH)
    outputs = room.forwarder.rtp_received("a/pub", room.packet("a"), room.now)
    assert [output.news for output in outputs if isinstance(output, SendGroup)] == [None]
