"""The caption worker: finds rooms where somebody speaks, holds them by leases, captions them.

It can run anywhere that Redis can be reached from, be stopped at any time, and there may be
several: a room is one worker's at a time. All rooms share one recogniser, on a thread of its
own, and the translation engines on theirs; the event loop only decodes and decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from chatroom.errors import ChatroomError, LanguageUnavailable, Unavailable
from chatroom.live import Live
from chatroom.protocol import CaptionsStatus
from chatroom.store import Store
from translate.agenda import Agenda, Turn
from translate.desk import Desk
from translate.loader import Loader
from translate.pipeline import RoomPipeline, Utterance, now_ms
from translate.settings import CaptionSettings

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_STATUS_EVERY_S = 1.0
_STATUS_TTL_S = 5.0
_DEGRADED_MS = 3_000
_RELOAD_TRIES = 3


class Worker:
    """`run` it until it is cancelled. `node` names it in leases and logs."""

    def __init__(
        self,
        settings: CaptionSettings,
        store: Store,
        live: Live,
        node: str,
        loader: Loader | None = None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._live = live
        self._node = node
        self._loader = loader or Loader(settings)
        self._agenda: Agenda[Utterance] = Agenda(
            settings.partial_interval_ms,
            round(settings.stale_s * 1000),
            partials=settings.partials,
        )
        self._desk = Desk(self._loader.translator, settings.stale_s)
        self._rooms: dict[str, asyncio.Task[None]] = {}
        self._pipelines: dict[str, RoomPipeline] = {}
        self._wake = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="recognise")
        self._failures = 0
        self._reloads: set[asyncio.Task[None]] = set()

    @property
    def rooms(self) -> list[str]:
        """The rooms that this worker holds now."""
        return list(self._pipelines)

    async def run(self) -> None:
        """Until cancelled; then the rooms are given back."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell_status())
                if self._settings.enabled:
                    group.create_task(self._loader.run())
                    group.create_task(self._find_rooms())
                    group.create_task(self._recognise())
        finally:
            await self._close()

    async def _close(self) -> None:
        for task in self._rooms.values():
            task.cancel()
        await asyncio.gather(*self._rooms.values(), return_exceptions=True)
        await self._desk.close()
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
        await self._loader.close()

    # ------------------------------------------------------------------------- status

    def status(self) -> CaptionsStatus:
        """How far the captions are, now."""
        if not self._settings.enabled:
            return CaptionsStatus("off", "Captions are switched off in the configuration.")
        readiness = self._loader.readiness
        recogniser = self._loader.recogniser
        if recogniser is None:
            return CaptionsStatus(readiness.state, readiness.detail, readiness.progress)
        behind_ms = max(self._agenda.behind_ms(now_ms()), self._desk.behind_ms())
        late = behind_ms >= _DEGRADED_MS
        detail = readiness.detail
        if late:
            detail = f"Captions are {behind_ms / 1000:.0f} s late. {detail}".strip()
        return CaptionsStatus(
            "degraded" if late else "ready",
            detail,
            readiness.progress,
            behind_ms,
            sorted(f"{a}-{b}" for a, b in self._loader.translator.pairs()),
            sorted(recogniser.languages),
        )

    async def _tell_status(self) -> None:
        down = False
        while True:
            try:
                await self._store.set_captions_status(self.status(), _STATUS_TTL_S)
                down = False
            except Unavailable as error:
                if not down:
                    log.warning("Status not told: %s", error.message)
                down = True
            await asyncio.sleep(_STATUS_EVERY_S)

    # -------------------------------------------------------------------------- rooms

    async def _find_rooms(self) -> None:
        while True:
            if self._loader.recogniser is not None:
                with contextlib.suppress(Unavailable):
                    for room in await self._store.speaking_rooms():
                        if room not in self._rooms and len(self._rooms) < self._settings.rooms:
                            await self._try(room)
                await self._warm()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _try(self, room: str) -> None:
        token = await self._store.acquire_lease(room, self._node, self._settings.lease_ms)
        if token is None:
            return
        task = asyncio.create_task(self._hold(room, token), name=f"captions-{room}")
        self._rooms[room] = task
        task.add_done_callback(lambda _: self._rooms.pop(room, None))

    async def _hold(self, room: str, token: str) -> None:
        """One room from lease to lease's end; what goes wrong here stays here."""
        try:
            await self._caption(room, token)
        except ChatroomError as error:
            log.warning("Captions of room %s end: %s", room, error.message)
        except Exception:
            log.exception("Captions of room %s failed", room)
        finally:
            with contextlib.suppress(ChatroomError):
                await self._store.release_lease(room, token)

    async def _caption(self, room: str, token: str) -> None:
        state = await self._store.load_room(room)
        if state.ended:
            return
        pipeline = RoomPipeline(
            state, token, self._store, self._settings, self._agenda, self._desk, self._wake.set
        )
        reload = partial(self._spawn_reload, pipeline)
        subscription = await self._live.subscribe_media(room, pipeline.take, reload)
        self._pipelines[room] = pipeline
        try:
            # Between loading and subscribing somebody may have come onto the stage.
            pipeline.set_stage((await self._store.load_room(room)).stage)
            log.info("Captioning room %s", room)
            await pipeline.run()
        finally:
            pipeline.close()
            del self._pipelines[room]
            await self._live.unsubscribe(subscription)

    def _spawn_reload(self, pipeline: RoomPipeline) -> None:
        """The connection was lost for a while: the stage may be another."""
        task = asyncio.create_task(self._reload(pipeline))
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self, pipeline: RoomPipeline) -> None:
        for attempt in range(_RELOAD_TRIES):
            try:
                state = await self._store.load_room(pipeline.room.room)
            except Unavailable:
                await asyncio.sleep(attempt + 1)
            except ChatroomError:
                break
            else:
                if pipeline.active and not state.ended:
                    pipeline.set_stage(state.stage)
                    return
                break
        pipeline.close()

    async def _warm(self) -> None:
        pairs = {
            (spoken, wanted)
            for pipeline in self._pipelines.values()
            for spoken in pipeline.languages
            for wanted in pipeline.wanted
        }
        await self._loader.warm(pairs)

    # -------------------------------------------------------------------- recognition

    async def _recognise(self) -> None:
        while True:
            turn, given_up = self._agenda.next(now_ms())
            for utterance in given_up:
                utterance.pipeline.heard(utterance, None, utterance.sound()[1], True)
            if turn is None:
                wait_ms = self._agenda.wait_ms(now_ms())
                self._wake.clear()
                # A little more than due, or a rounding error makes it turn idly. Not wait_for,
                # which may swallow a cancellation in Python 3.11.
                delay_s = None if wait_ms is None else (wait_ms + 1) / 1000
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay_s):
                        await self._wake.wait()
                continue
            await self._turn(turn)

    async def _turn(self, turn: Turn[Utterance]) -> None:
        utterance = turn.key
        sound, end_ms = utterance.sound()
        whole = turn.final or utterance.pausing
        heard = None
        recogniser = self._loader.recogniser
        try:
            if recogniser is not None and len(sound):
                heard = await asyncio.get_running_loop().run_in_executor(
                    self._executor,
                    partial(recogniser.recognise, sound, utterance.line.language, final=whole),
                )
        except LanguageUnavailable as error:
            self._log_failure(error.message)
        except Exception as error:
            self._log_failure(f"{type(error).__name__}: {error}", exc_info=True)
        finally:
            self._agenda.done(now_ms())
        utterance.pipeline.heard(utterance, heard, end_ms, turn.final, whole)

    def _log_failure(self, what: str, *, exc_info: bool = False) -> None:
        self._failures += 1
        if self._failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th, ...
            log.warning("Recognition failure %d: %s", self._failures, what, exc_info=exc_info)
