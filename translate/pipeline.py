"""One room's words: its speakers' sound to utterances, its utterances to captions.

Everything runs on the event loop and is quick (decoding and voice activity take some 10 ms of
a second per speaker); recognition and translation are asked for and come back later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chatroom.bus import FrameBatch, MediaFrame, MediaMessage, SpeakerChanged
from chatroom.errors import LeaseLost, NotFound, RoomEnded, Unavailable
from chatroom.protocol import Caption, StageMember
from chatroom.room import Room, clock_ms
from chatroom.store import Store
from translate.agenda import Agenda
from translate.captions import Line, targets
from translate.decode import Samples, SpeakerDecoder, StreamClock
from translate.desk import Desk
from translate.segment import Ended, Rules, Segmenter, SegmentEvent, Started
from translate.settings import CaptionSettings
from translate.speech import Heard
from translate.voice import SileroVoice

log = logging.getLogger(__name__)

_WATCH_EVERY_S = 0.1
_OUTBOX = 256
_RETRY_S = 0.3


def now_ms() -> float:
    """Monotonic, ms."""
    return time.monotonic() * 1000


@dataclass(slots=True)
class Speaker:
    """Somebody on stage."""

    participant: str
    name: str
    language: str
    muted: bool
    segmenter: Segmenter
    decoder: SpeakerDecoder = field(default_factory=SpeakerDecoder)
    clock: StreamClock = field(default_factory=StreamClock)
    utterance: Utterance | None = None
    frame_at: float = 0.0
    """When the newest frame came, `now_ms`."""


class Utterance:
    """What the agenda hands around: one utterance, going on or over."""

    def __init__(self, pipeline: RoomPipeline, speaker: Speaker, line: Line) -> None:
        self.pipeline = pipeline
        self.line = line
        self._segmenter = speaker.segmenter
        self._ended: Ended | None = None
        self._early: tuple[int, Heard] | None = None
        """What was heard in the newest pause, and where the words before it ended."""
        self.pause_ms = -1
        """End of the words before the newest pause that was reported."""

    @property
    def pausing(self) -> bool:
        """Whether all words so far are in its sound."""
        return self._ended is not None or self._segmenter.pausing

    def keep(self, heard: Heard, end_ms: int) -> bool:
        """What was heard in a pause that began at `end_ms`. Whether that was the end."""
        self._early = (end_ms, heard)
        return self.heard_whole() is not None

    def heard_whole(self) -> Heard | None:
        """What was heard in a pause, if nothing was said after it and the utterance is over."""
        if self._ended is None or self._early is None or self._early[0] != self._ended.end_ms:
            return None
        return self._early[1]

    def end(self, ended: Ended) -> None:
        """Its sound is complete."""
        self._ended = ended

    def sound(self) -> tuple[Samples, int]:
        """All of it, or as far as it goes now, and the room's clock where that ends."""
        if self._ended is not None:
            return self._ended.samples, self._ended.end_ms
        return self._segmenter.sound(), self._segmenter.end_ms


class RoomPipeline:
    """Holds a room by its lease. `run` until it returns or is cancelled; `take` what the media
    channel brings; `heard` what the recogniser says. After the lease is lost nothing is posted
    any more."""

    def __init__(
        self,
        room: Room,
        token: str,
        store: Store,
        settings: CaptionSettings,
        agenda: Agenda[Utterance],
        desk: Desk,
        wake: Callable[[], None],
    ) -> None:
        self.room = room
        self.active = True
        self._token = token
        self._store = store
        self._settings = settings
        self._rules = Rules.of(settings)
        self._agenda = agenda
        self._desk = desk
        self._wake = wake
        self._speakers: dict[str, Speaker] = {}
        self._utterances: set[Utterance] = set()
        self._outbox: dict[str, Caption] = {}
        """Utterance to its newest revision that is not posted yet."""
        self._posting = asyncio.Event()
        self._closed = asyncio.Event()
        self._prefix = secrets.token_hex(4)
        self._count = 0
        self._media_at = now_ms()
        self.wanted: set[str] = set()
        self.set_stage(room.stage)

    # ---------------------------------------------------------------- what comes in

    @property
    def languages(self) -> set[str]:
        """What is spoken on stage."""
        return {speaker.language for speaker in self._speakers.values()}

    def set_stage(self, stage: list[StageMember]) -> None:
        """Who is on stage, whole."""
        present = {member.participant for member in stage}
        for participant in self._speakers.keys() - present:
            self._leave(participant)
        for member in stage:
            self._seat(member.participant, member.name, member.speaks, member.muted)

    def take(self, message: MediaMessage) -> None:
        """A message of the room's media channel. Never raises: what a frame breaks costs the
        room its captions, never another room."""
        if not self.active:
            return
        try:
            if isinstance(message, SpeakerChanged):
                self._change(message)
            elif isinstance(message, FrameBatch):
                for frame in message.frames:
                    self._frame(frame)
        except Exception:
            log.exception("Captions of room %s failed and begin anew", self.room.room)
            self.close()

    def heard(
        self,
        utterance: Utterance,
        heard: Heard | None,
        end_ms: int,
        final: bool,
        pausing: bool = False,
    ) -> None:
        """What the recogniser made of an utterance; None where it failed or had no time.
        `pausing`: it was not over, but the speaker paused at `end_ms`."""
        if not self.active or utterance not in self._utterances:
            return
        line = utterance.line
        if pausing and not final and heard is not None and utterance.keep(heard, end_ms):
            self._agenda.forget(utterance)
            final = True
        if final:
            self._utterances.discard(utterance)
            caption = line.give_up(end_ms) if heard is None else line.settle(heard.text, end_ms)
        elif heard is None:
            return
        else:
            caption = line.hear(heard.text, end_ms)
        self._post(caption)
        if caption is not None and caption.text:
            self._translate(line, caption)
        elif final:
            self._desk.forget(line.utterance)

    def close(self) -> None:
        """Post nothing more, want nothing more. `run` returns."""
        self.active = False
        for utterance in self._utterances:
            self._agenda.forget(utterance)
            self._desk.forget(utterance.line.utterance)
        self._utterances.clear()
        self._speakers.clear()
        self._outbox.clear()
        self._closed.set()

    # ------------------------------------------------------------------- its own life

    async def run(self) -> None:
        """Keep the lease, watch for silence, post; until closed."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._keep_lease()),
                    group.create_task(self._keep_wanted()),
                    group.create_task(self._watch()),
                    group.create_task(self._post_all()),
                ]
                await self._closed.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self.close()

    async def _keep_lease(self) -> None:
        ttl = self._settings.lease_ms
        until = now_ms() + ttl
        while self.active:
            await asyncio.sleep(ttl / 3000)
            asked = now_ms()
            try:
                held = await self._store.renew_lease(self.room.room, self._token, ttl)
            except Unavailable:
                held = now_ms() < until
            else:
                until = asked + ttl
            if not held and self.active:
                log.warning("Room %s is another worker's now", self.room.room)
                self.close()

    async def _keep_wanted(self) -> None:
        while self.active:
            with contextlib.suppress(Unavailable):
                self.wanted = await self._store.wanted_languages(self.room.room)
            await asyncio.sleep(1.0)

    async def _watch(self) -> None:
        """End utterances of who fell silent without a silent packet, and the room that did."""
        silence = self._settings.end_silence_ms + 300
        while self.active:
            await asyncio.sleep(_WATCH_EVERY_S)
            now = now_ms()
            for speaker in self._speakers.values():
                if speaker.utterance is not None and now - speaker.frame_at > silence:
                    self._handle(speaker, speaker.segmenter.stop())
            if now - self._media_at > self._settings.idle_s * 1000 and not self._utterances:
                log.info("Room %s is silent; given back", self.room.room)
                self.close()

    # ------------------------------------------------------------------------- sound

    def _change(self, note: SpeakerChanged) -> None:
        if note.on_stage:
            self._seat(note.participant, note.name, note.speaks, note.muted)
            if not note.connected:
                self._stop(note.participant)
        else:
            self._leave(note.participant)

    def _seat(self, participant: str, name: str, language: str, muted: bool) -> None:
        speaker = self._speakers.get(participant)
        if speaker is None:
            self._speakers[participant] = Speaker(
                participant, name, language, muted, Segmenter(self._rules, SileroVoice())
            )
            return
        if muted or language != speaker.language:
            self._stop(participant)
        speaker.name, speaker.language, speaker.muted = name, language, muted

    def _leave(self, participant: str) -> None:
        self._stop(participant)
        self._speakers.pop(participant, None)

    def _stop(self, participant: str) -> None:
        speaker = self._speakers.get(participant)
        if speaker is not None:
            self._handle(speaker, speaker.segmenter.stop())

    def _frame(self, frame: MediaFrame) -> None:
        self._media_at = now_ms()
        speaker = self._speakers.get(frame.participant)
        if speaker is None or speaker.muted:
            return
        speaker.frame_at = self._media_at
        sound = speaker.decoder.push(frame.sequence, frame.timestamp, frame.payload)
        if sound is None:
            return
        if sound.fresh:
            self._handle(speaker, speaker.segmenter.stop())
            speaker.clock.reset()
        received_ms = clock_ms(self.room, frame.received_ms / 1000)
        speaker.clock.observe(sound.position + len(sound.samples), received_ms)
        start_ms = speaker.clock.ms(sound.position)
        self._handle(speaker, speaker.segmenter.push(sound.samples, start_ms))
        utterance, end_ms = speaker.utterance, speaker.segmenter.end_ms
        if utterance is not None and speaker.segmenter.pausing and utterance.pause_ms != end_ms:
            utterance.pause_ms = end_ms
            self._agenda.pausing(utterance)
            self._wake()

    def _handle(self, speaker: Speaker, events: list[SegmentEvent]) -> None:
        for event in events:
            if isinstance(event, Started):
                self._count += 1
                line = Line(
                    f"{self._prefix}-{self._count}",
                    speaker.participant,
                    speaker.name,
                    speaker.language,
                    event.start_ms,
                )
                speaker.utterance = Utterance(self, speaker, line)
                self._utterances.add(speaker.utterance)
                self._agenda.speaking(speaker.utterance, now_ms())
            elif speaker.utterance is not None:
                utterance, speaker.utterance = speaker.utterance, None
                utterance.end(event)
                whole = utterance.heard_whole()
                if whole is None:
                    self._agenda.ended(utterance, now_ms())
                else:
                    self._agenda.forget(utterance)
                    self.heard(utterance, whole, event.end_ms, True)
            self._wake()

    # ------------------------------------------------------------------------- words

    def _translate(self, line: Line, caption: Caption) -> None:
        for target in targets(line.language, self.wanted):

            def deliver(
                text: str, error: str, target: str = target, original: str = caption.text
            ) -> None:
                if not self.active:
                    return
                if error:
                    self._post(line.not_translated(target, error))
                else:
                    self._post(line.translated(target, text, original))

            ask = self._desk.ask_final if caption.final else self._desk.ask_partial
            ask(line.utterance, caption.text, line.language, target, deliver)

    def _post(self, caption: Caption | None) -> None:
        if caption is None or not self.active:
            return
        # A newer revision says all that the older one said: only the newest waits.
        self._outbox[caption.utterance] = caption
        if len(self._outbox) > _OUTBOX:
            self._outbox.pop(next(iter(self._outbox)))
        self._posting.set()

    async def _post_all(self) -> None:
        while self.active:
            await self._posting.wait()
            self._posting.clear()
            while self._outbox and self.active:
                utterance = next(iter(self._outbox))
                caption = self._outbox.pop(utterance)
                try:
                    await self._store.post_caption(self.room.room, caption, self._token)
                except Unavailable:
                    if caption.final and self.active:
                        self._outbox.setdefault(utterance, caption)
                    await asyncio.sleep(_RETRY_S)
                except (LeaseLost, NotFound, RoomEnded) as error:
                    log.warning("Captions of room %s end: %s", self.room.room, error.message)
                    self.close()
