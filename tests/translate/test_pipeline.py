"""One room's pipeline on a real store: who is heard, what is posted, what happens when Redis is
away. What the recogniser says is made up here; `test_worker` has the real one."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from chatroom.bus import FrameBatch, MediaFrame, SpeakerChanged
from chatroom.errors import Unavailable
from chatroom.live import Live
from chatroom.protocol import Caption, CaptionPosted, Event, RoomDraft
from chatroom.store import Store
from translate.agenda import Agenda
from translate.desk import Desk
from translate.pipeline import RoomPipeline, Utterance, now_ms
from translate.settings import CaptionSettings
from translate.speech import Heard
from translate.text import Translator

HOST = "host"


class Room:
    """A pipeline that runs, and what it posts."""

    def __init__(self, pipeline: RoomPipeline, agenda: Agenda[Utterance], packets: list[bytes]):
        self.pipeline = pipeline
        self.agenda = agenda
        self.posted: list[Caption] = []
        self._packets = packets
        self._sent = 0

    def take(self, cursor: str | None, event: Event) -> None:
        if isinstance(event, CaptionPosted):
            self.posted.append(event.caption)

    def send(self, count: int, participant: str = HOST) -> None:
        """The next packets of the recording."""
        now = int(time.time() * 1000)
        frames = []
        for _ in range(count):
            n = self._sent
            self._sent += 1
            frames.append(
                MediaFrame("n1", participant, n, n * 960, now + n * 20, 20, self._packets[n])
            )
        self.pipeline.take(FrameBatch(frames))

    def turn(self) -> tuple[Utterance, bool] | None:
        turn, _ = self.agenda.next(now_ms() + 10_000)
        self.agenda.done(now_ms() + 10_000)
        return None if turn is None else (turn.key, turn.final)


def heard(text: str) -> Heard:
    return Heard(text, -0.1, 0.1, 0.1)


async def until(condition: Callable[[], Any], timeout: float = 15) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
async def room(
    store: Store,
    live: Live,
    clips: dict[str, Any],
    opus: Callable[..., list[bytes]],
    tmp_path: Any,
) -> AsyncIterator[Room]:
    settings = CaptionSettings(stale_s=600)
    draft = RoomDraft(title="Test", languages=["en"], host_name="Ada")
    state = await store.create_room(draft, HOST, time.time() - 60)
    token = await store.acquire_lease(state.room, "w1", settings.lease_ms)
    assert token
    agenda: Agenda[Utterance] = Agenda(500, 600_000)
    translator = Translator(tmp_path, instances=[])
    desk = Desk(translator, 600)
    pipeline = RoomPipeline(state, token, store, settings, agenda, desk, lambda: None)
    speech = clips["en-real-1"].samples(48_000)
    subject = Room(pipeline, agenda, opus(np.pad(speech, (24_000, 96_000))))
    subscription = await live.subscribe(state.room, subject.take)
    task = asyncio.create_task(pipeline.run())
    yield subject
    pipeline.close()
    await asyncio.wait_for(task, 10)
    await desk.close()
    await translator.close()
    await live.unsubscribe(subscription)


async def test_hearings_become_revisions(room: Room) -> None:
    room.send(100)
    turn = room.turn()
    assert turn is not None
    utterance, final = turn
    assert not final
    sound, end_ms = utterance.sound()
    assert 16_000 < len(sound) < 32_000
    room.pipeline.heard(utterance, heard("He was not"), end_ms, final=False)
    await until(lambda: room.posted)
    room.send(140)
    turn = room.turn()
    assert turn == (utterance, True)
    room.pipeline.heard(utterance, heard("He was not an ill-disposed"), utterance.sound()[1], True)
    await until(lambda: len(room.posted) == 2)
    first, second = room.posted
    assert (first.text, first.final, first.revision) == ("He was not", False, 1)
    assert (second.text, second.final) == ("He was not an ill-disposed", True)
    assert second.end_ms > first.end_ms > first.start_ms == second.start_ms
    room.pipeline.heard(utterance, heard("again"), 0, True)
    await asyncio.sleep(0.05)
    assert len(room.posted) == 2


async def test_what_was_heard_in_a_pause_is_final_when_nothing_follows(room: Room) -> None:
    room.send(182)  # the words, and a little silence
    turn = room.turn()
    assert turn is not None
    utterance, final = turn
    assert not final
    assert utterance.pausing
    _, end_ms = utterance.sound()
    room.pipeline.heard(utterance, heard("He was not."), end_ms, False, True)
    await until(lambda: room.posted)
    assert not room.posted[0].final
    room.send(50)
    assert room.turn() is None, "it is not heard again"
    await until(lambda: len(room.posted) == 2)
    assert (room.posted[1].text, room.posted[1].final) == ("He was not.", True)


async def test_a_hearing_in_a_pause_may_come_back_after_the_end(room: Room) -> None:
    room.send(182)
    turn = room.turn()
    assert turn is not None
    _, end_ms = turn[0].sound()
    room.send(50)
    room.pipeline.heard(turn[0], heard("He was not."), end_ms, False, True)
    assert room.turn() is None
    await until(lambda: room.posted)
    assert [(c.text, c.final) for c in room.posted] == [("He was not.", True)]


async def test_a_pause_in_mid_utterance_is_only_a_pause(room: Room) -> None:
    room.send(182)
    turn = room.turn()
    assert turn is not None
    utterance, _ = turn
    _, end_ms = utterance.sound()
    room.pipeline.heard(utterance, heard("He was"), end_ms - 640, False, True)
    room.send(50)
    assert room.turn() == (utterance, True)


async def test_only_who_is_on_stage_and_unmuted_is_heard(room: Room) -> None:
    room.send(100, participant="stranger")
    assert room.turn() is None
    room.pipeline.take(SpeakerChanged(HOST, "Ada", "en", muted=True, connected=True))
    room.send(60)
    assert room.turn() is None


@pytest.mark.parametrize(
    "note",
    [
        SpeakerChanged(HOST, "Ada", "en", muted=True, connected=True),
        SpeakerChanged(HOST, "Ada", "en", muted=False, connected=False),
        SpeakerChanged(HOST, "Ada", "es", muted=False, connected=True),
        SpeakerChanged(HOST, "Ada", "en", muted=False, connected=False, on_stage=False),
    ],
    ids=["muted", "disconnected", "another language", "left"],
)
async def test_what_ends_an_utterance(room: Room, note: SpeakerChanged) -> None:
    room.send(100)
    room.pipeline.take(note)
    turn = room.turn()
    assert turn is not None
    utterance, final = turn
    assert final
    assert utterance.line.language == "en"
    room.pipeline.heard(utterance, heard("He was"), utterance.sound()[1], True)
    await until(lambda: room.posted)
    assert room.posted[0].final


async def test_packets_that_stop_coming_end_an_utterance(room: Room) -> None:
    room.send(100)
    await until(lambda: (turn := room.turn()) is not None and turn[1])


async def test_a_new_name_is_shown_from_the_next_utterance_on(room: Room) -> None:
    room.pipeline.take(SpeakerChanged(HOST, "Ada L.", "en", muted=False, connected=True))
    room.send(100)
    turn = room.turn()
    assert turn is not None
    assert turn[0].line.name == "Ada L."


async def test_finals_wait_while_redis_is_away(
    room: Room, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.send(240)
    turn = room.turn()
    assert turn is not None
    tries = 0

    async def away(*args: Any) -> None:
        nonlocal tries
        tries += 1
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store, "post_caption", away)
        room.pipeline.heard(turn[0], heard("He was not"), 0, True)
        await until(lambda: tries >= 2)
    await until(lambda: room.posted)
    assert room.posted[0].text == "He was not"


async def test_after_the_lease_is_lost_nothing_is_posted(room: Room, store: Store) -> None:
    room.send(240)
    turn = room.turn()
    assert turn is not None
    room.pipeline.close()
    room.pipeline.heard(turn[0], heard("He was not"), 0, True)
    await asyncio.sleep(0.05)
    assert room.posted == []
    assert room.turn() is None
