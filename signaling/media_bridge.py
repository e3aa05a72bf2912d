"""What the media port reports, carried to the rooms: who talks, who is connected, the sound.

Implements `media.port.MediaEvents`; everything is called on the event loop and returns at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Literal, Protocol

from chatroom.bus import MAX_FRAMES, MediaFrame
from chatroom.errors import ChatroomError
from chatroom.protocol import Talking
from media.events import REPLACED
from signaling.hub import Hub

log = logging.getLogger(__name__)

TOUCH_EVERY_S = 3.0


class Frame(Protocol):
    """20 ms of a publisher, as the media port hands it over."""

    @property
    def sequence(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def level_dbov(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def received(self) -> float: ...


class MediaBridge:
    """Gathers frames for a few milliseconds and publishes them together, so that the bus carries
    one message a batch instead of one a frame and speaker."""

    def __init__(self, hub: Hub, batch_s: float) -> None:
        self._hub = hub
        self._batch_s = batch_s
        self._frames: dict[str, list[MediaFrame]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._touched: dict[str, float] = {}
        self._publishing: set[str] = set()
        self.published = 0
        self.dropped = 0
        """Frames that Redis did not take in time."""

    # ------------------------------------------------------------- media.port.MediaEvents

    def talking_changed(self, room: str, slots: tuple[str | None, ...]) -> None:
        self._hub.spawn(self._tell_talking(room, slots))

    def frame_received(self, room: str, participant: str, frame: Frame) -> None:
        frames = self._frames.setdefault(room, [])
        if len(frames) >= MAX_FRAMES:
            # Redis is slower than speech: the oldest is the least worth.
            del frames[0]
            self.dropped += 1
        frames.append(
            MediaFrame(
                node=self._hub.node,
                participant=participant,
                sequence=frame.sequence,
                timestamp=frame.timestamp,
                received_ms=round(frame.received * 1000),
                level_dbov=frame.level_dbov,
                payload=frame.payload,
            )
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._batch_s, self._flush)

    def session_changed(
        self,
        room: str,
        participant: str,
        session: str,
        kind: Literal["publish", "listen"],
        state: Literal["connected", "closed"],
        reason: str,
    ) -> None:
        here = self._hub.rooms.get(room)
        if here is None:
            return
        known = here.sessions.get(session)
        if state == "closed":
            here.forget(session)
            if reason == REPLACED:
                self._hub.note_replaced(session)
            log.debug("room %s: a %s session closed: %s", room, kind, reason)
        elif known is not None:
            known.connected = True
        if kind == "publish":
            self._hub.spawn(here.tell_connected(participant))

    # -------------------------------------------------------------------------- inside

    def _flush(self) -> None:
        self._timer = None
        for room in list(self._frames):
            # One message at a time for each room, so that they arrive in order.
            if room not in self._publishing:
                self._publishing.add(room)
                self._hub.spawn(self._publish(room, self._frames.pop(room)))
        if self._frames:
            self._timer = asyncio.get_running_loop().call_later(self._batch_s, self._flush)

    async def _publish(self, room: str, frames: list[MediaFrame]) -> None:
        try:
            await self._hub.store.publish_media(room, frames)
            self.published += len(frames)
            now = time.monotonic()
            if now - self._touched.get(room, -TOUCH_EVERY_S) >= TOUCH_EVERY_S:
                self._touched = {k: v for k, v in self._touched.items() if now - v < 60}
                self._touched[room] = now
                await self._hub.store.touch_speaking(room)
        except ChatroomError as error:
            self.dropped += len(frames)
            log.debug("room %s: frames lost: %s", room, error.message)
        finally:
            self._publishing.discard(room)

    async def _tell_talking(self, room: str, slots: tuple[str | None, ...]) -> None:
        await self._hub.store.publish_live(room, Talking(list(slots)))
