"""The worker on a real Redis, with real weights and real speech in real Opus packets."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatroom import keys
from chatroom.bus import MediaFrame
from chatroom.live import Live
from chatroom.protocol import Caption, CaptionPosted, Event, RoomDraft, SetMuted, SetSpeaks
from chatroom.roles import Role
from chatroom.room import Actor, Room
from chatroom.store import Store
from translate.loader import Loader
from translate.settings import CaptionSettings
from translate.worker import Worker

pytestmark = pytest.mark.models

HOST = "host"


class Stage:
    """A room with one speaker, whose frames a test sends, and what the room was told."""

    def __init__(self, store: Store, live: Live, room: Room, opus: Callable[..., list[bytes]]):
        self.store = store
        self.live = live
        self.room = room
        self.id = room.room
        self.captions: list[Caption] = []
        self._opus = opus
        self._sequence = 70_000
        self._timestamp = 5_000_000
        self._at_ms = time.time() * 1000
        self._changed = asyncio.Event()

    @property
    def now_ms(self) -> float:
        """Room clock of what is spoken next."""
        return self._at_ms - self.room.created_at * 1000

    def take(self, cursor: str | None, event: Event) -> None:
        if isinstance(event, CaptionPosted):
            self.captions.append(event.caption)
            self._changed.set()

    async def speak(self, samples: Any, pace: float = 0.002) -> None:
        """Send sound (48 kHz) in Opus, 100 ms a message, quicker than it was spoken: a message
        each `pace` seconds. `received_ms` goes on as if it were spoken in real time."""
        packets = self._opus(samples)
        for start in range(0, len(packets), 5):
            frames = []
            for packet in packets[start : start + 5]:
                self._sequence += 1
                self._at_ms += 20
                frames.append(
                    MediaFrame(
                        "n1", HOST, self._sequence, self._timestamp, int(self._at_ms), 20, packet
                    )
                )
                self._timestamp += 960
            await self.store.publish_media(self.id, frames)
            await asyncio.sleep(pace)

    @asynccontextmanager
    async def readers(self, *languages: str) -> AsyncIterator[None]:
        """Somebody reads these languages, and says so every second as a node does."""

        async def repeat() -> None:
            while True:
                await self.store.set_presence(self.id, "n1", 2, languages)
                await asyncio.sleep(1)

        task = asyncio.create_task(repeat())
        try:
            yield
        finally:
            task.cancel()

    async def until(self, found: Callable[[list[Caption]], bool], timeout: float = 30) -> None:
        async with asyncio.timeout(timeout):
            while not found(self.captions):
                self._changed.clear()
                await self._changed.wait()


async def until(condition: Callable[[], Any], timeout: float = 30) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.fixture(scope="session")
def caption_settings(models_root: Path) -> CaptionSettings:
    return CaptionSettings(models=str(models_root), fetch=False)


@pytest.fixture
async def stage(store: Store, live: Live, opus: Callable[..., list[bytes]]) -> AsyncIterator[Stage]:
    draft = RoomDraft(title="Test", languages=["en"], host_name="Ada")
    room = await store.create_room(draft, HOST, time.time() - 60)
    subject = Stage(store, live, room, opus)
    subscription = await live.subscribe(room.room, subject.take)
    yield subject
    await live.unsubscribe(subscription)


@asynccontextmanager
async def running(stage: Stage, worker: Worker, *, hold: bool = True) -> AsyncIterator[None]:
    """The worker, once it holds the room."""
    task = asyncio.create_task(worker.run())
    try:
        await stage.store.touch_speaking(stage.id)
        if hold:
            await until(lambda: task.done() or stage.id in worker.rooms)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def sound(clip: Any, before_s: float = 0.5, after_s: float = 1.2) -> Any:
    """A clip at 48 kHz with silence around it."""
    return np.pad(clip.samples(48_000), (int(before_s * 48_000), int(after_s * 48_000)))


async def test_speech_becomes_a_final_caption_with_its_translation(
    stage: Stage, caption_settings: CaptionSettings, clips: dict[str, Any]
) -> None:
    worker = Worker(caption_settings, stage.store, stage.live, "w1")
    async with running(stage, worker), stage.readers("pt", "en", "fr"):
        await until(lambda: worker._pipelines[stage.id].wanted)
        began_ms = stage.now_ms
        await stage.speak(sound(clips["en-real-4"]), pace=0.05)
        await stage.until(lambda all: any(c.translations and c.untranslated for c in all))
    (caption,) = await stage.store.captions(stage.id)
    assert caption.final
    assert (caption.participant, caption.name, caption.language) == (HOST, "Ada", "en")
    wrong, total = clips["en-real-4"].errors(caption.text)
    assert wrong <= 0.2 * total, caption.text
    assert caption.translations.keys() == {"pt"}
    assert "ele" in caption.translations["pt"].lower().split()
    assert caption.untranslated == {"fr": "language_unavailable"}
    assert 300 < caption.start_ms - began_ms < 1_500
    assert 2_300 < caption.end_ms - caption.start_ms < 3_600
    mine = [c for c in stage.captions if c.utterance == caption.utterance]
    assert [c.revision for c in mine] == sorted({c.revision for c in mine})
    partials = [c for c in mine if not c.final]
    assert partials
    finals = [c.text for c in mine if c.final]
    assert set(finals) == {caption.text}
    assert [c.final for c in mine] == sorted(c.final for c in mine)


async def test_silence_and_noise_give_no_caption(
    stage: Stage, caption_settings: CaptionSettings
) -> None:
    worker = Worker(caption_settings, stage.store, stage.live, "w1")
    random = np.random.default_rng(1)
    t = np.arange(48_000) / 48_000
    async with running(stage, worker):
        await stage.speak(np.zeros(48_000, np.float32))
        await stage.speak(random.normal(0, 0.05, 96_000).astype(np.float32))
        await stage.speak((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32))
        await stage.speak(np.zeros(48_000, np.float32))
        await asyncio.sleep(0.5)
    assert [c for c in stage.captions if c.text] == []
    assert await stage.store.captions(stage.id) == []


async def test_muting_in_mid_sentence_makes_what_was_said_final(
    stage: Stage, caption_settings: CaptionSettings, clips: dict[str, Any]
) -> None:
    worker = Worker(caption_settings, stage.store, stage.live, "w1")
    ada = Actor(HOST, "Ada", Role.HOST, "en")
    async with running(stage, worker):
        half = sound(clips["en-real-0"])[: 48_000 * 4]
        await stage.speak(half)
        await stage.store.apply(stage.id, ada, SetMuted(True), time.time())
        await stage.until(lambda all: any(c.final for c in all))
        count = len(stage.captions)
        await stage.speak(sound(clips["en-real-1"]))  # frames that are still under way
        await asyncio.sleep(0.3)
        assert len(stage.captions) == count
    assert stage.captions[-1].text.startswith("And Mr. John Dashwood")


async def test_a_speaker_may_change_the_language(
    stage: Stage, caption_settings: CaptionSettings, clips: dict[str, Any]
) -> None:
    worker = Worker(caption_settings, stage.store, stage.live, "w1")
    ada = Actor(HOST, "Ada", Role.HOST, "en")
    async with running(stage, worker):
        await stage.store.apply(stage.id, ada, SetSpeaks("zh"), time.time())
        await stage.speak(sound(clips["zh-00"]))
        await stage.until(lambda all: any(c.final for c in all))
    assert (stage.captions[-1].language, stage.captions[-1].text) == (
        "zh",
        "大家好，欢迎来到我们的聊天室。",
    )


async def test_another_worker_takes_over_and_the_old_one_falls_silent(
    stage: Stage, caption_settings: CaptionSettings, clips: dict[str, Any]
) -> None:
    quick = replace(caption_settings, lease_ms=600)
    first = Worker(quick, stage.store, stage.live, "w1")
    async with running(stage, first):
        token = await stage.store.acquire_lease(stage.id, "w2", 60_000)
        assert token is None, "a room is one worker's"
        await stage.store.redis.set(keys.lease(stage.id), "w2/stolen", px=60_000)
        await stage.speak(sound(clips["en-real-4"]))
        await until(lambda: stage.id not in first.rooms)
        assert stage.captions == []
    # The first gave back nothing that is not its own.
    assert await stage.store.renew_lease(stage.id, "w2/stolen", 60_000)
    await stage.store.release_lease(stage.id, "w2/stolen")
    second = Worker(quick, stage.store, stage.live, "w2")
    async with running(stage, second):
        await stage.speak(sound(clips["en-real-4"]))
        await stage.until(lambda all: any(c.final for c in all))
    assert await stage.store.acquire_lease(stage.id, "w3", 1000), "given back at the end"


async def test_a_room_that_breaks_begins_anew_and_leaves_others_alone(
    stage: Stage,
    caption_settings: CaptionSettings,
    clips: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker(caption_settings, stage.store, stage.live, "w1")
    draft = RoomDraft(title="Other", languages=["en"])
    other = await stage.store.create_room(draft, HOST, time.time())
    async with running(stage, worker):
        await stage.store.touch_speaking(other.room)
        await until(lambda: set(worker.rooms) == {stage.id, other.room})
        broken = worker._pipelines[other.room]
        monkeypatch.setattr(broken, "_frame", lambda frame: 1 / 0)
        frame = MediaFrame("n1", HOST, 1, 1, 1, 1, b"\xf8")
        await stage.store.publish_media(other.room, [frame])
        await until(lambda: not broken.active)
        await stage.speak(sound(clips["en-real-4"]))
        await stage.until(lambda all: any(c.final for c in all))
        await until(lambda: other.room in worker.rooms and worker._pipelines[other.room].active)


async def test_a_silent_room_is_given_back(stage: Stage, caption_settings: CaptionSettings) -> None:
    worker = Worker(replace(caption_settings, idle_s=1), stage.store, stage.live, "w1")
    async with running(stage, worker):
        await stage.store.redis.flushdb()  # nobody speaks, and the room is gone too
        await until(lambda: stage.id not in worker.rooms)


async def test_status_tells_how_far_the_captions_are(
    stage: Stage, caption_settings: CaptionSettings
) -> None:
    worker = Worker(caption_settings, stage.store, stage.live, "w1")
    async with running(stage, worker):
        async with asyncio.timeout(10):
            while (status := await stage.store.captions_status()).state != "ready":
                await asyncio.sleep(0.05)
    assert status.behind_ms == 0
    assert {"en-pt", "pt-en"} <= set(status.pairs)
    assert {"en", "zh", "es", "pt"} <= set(status.recognises)


async def test_without_models_it_says_what_to_run_and_goes_on_when_they_appear(
    stage: Stage, tmp_path: Path, models_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translate.loader._LOOK_EVERY_S", 0.05)
    settings = CaptionSettings(models=str(tmp_path / "models"), fetch=False)
    worker = Worker(settings, stage.store, stage.live, "w1")
    async with running(stage, worker, hold=False):
        await until(lambda: worker.status().state == "failed")
        assert "`chatroom models fetch whisper-base`" in worker.status().detail
        assert worker.rooms == []
        (tmp_path / "models").symlink_to(models_root)
        await until(lambda: worker.status().state == "ready")
        await until(lambda: stage.id in worker.rooms)


async def test_switched_off_it_says_so(stage: Stage) -> None:
    worker = Worker(CaptionSettings(enabled=False), stage.store, stage.live, "w1")
    async with running(stage, worker, hold=False):
        async with asyncio.timeout(10):
            while "switched off" not in (await stage.store.captions_status()).detail:
                await asyncio.sleep(0.02)
        assert worker.rooms == []


async def test_a_recogniser_that_fails_settles_the_lines(
    stage: Stage,
    caption_settings: CaptionSettings,
    clips: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = Loader(caption_settings)
    worker = Worker(caption_settings, stage.store, stage.live, "w1", loader)
    async with running(stage, worker):
        recogniser = loader.recogniser
        assert recogniser is not None

        def fail(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError("out of memory")

        with monkeypatch.context() as patch:
            patch.setattr(recogniser, "recognise", fail)
            await stage.speak(sound(clips["en-real-1"]))
            await until(lambda: "out of memory" in caplog.text)
        await stage.speak(sound(clips["en-real-4"]))
        await stage.until(lambda all: any(c.final for c in all))
    assert "amiable" in stage.captions[-1].text
