"""Captions in Redis: the newest revision of each utterance, and how far the captions are."""

from __future__ import annotations

from chatroom import bus, keys
from chatroom.errors import LeaseLost, RoomNotFound
from chatroom.protocol import Caption, CaptionPosted, CaptionsStatus, CaptionsStatusChanged
from chatroom.store_base import StoreBase, text


class CaptionStore(StoreBase):
    """Part of the store; see `chatroom.store`."""

    async def post_caption(
        self, room: str, caption: Caption, lease_token: str | None = None
    ) -> str | None:
        """Tell the room of a caption. A partial goes to the live channel only. A final, and the
        same final with more translations and a higher revision, is also kept and stored as an
        event; its cursor is returned. A revision that is not newer than what is kept, or a
        partial after its final, is dropped (None).

        Raises RoomNotFound; LeaseLost where `lease_token` is given and not (any more) the
        room's; Unavailable.
        """
        answer = await self._run(
            "caption",
            [
                keys.state(room),
                keys.events(room),
                keys.captions(room),
                keys.caption_order(room),
                keys.live(room),
                keys.lease(room),
            ],
            [
                lease_token or "",
                caption.utterance,
                caption.revision,
                caption.start_ms,
                "1" if caption.final else "",
                self.settings.caption_history,
                self.settings.event_history,
                bus.encode_event_body(CaptionPosted(caption)),
            ],
        )
        match text(answer[0]):
            case "gone":
                raise RoomNotFound("There is no such room.")
            case "lease":
                raise LeaseLost("Another worker holds this room now.")
            case "stored":
                return text(answer[1])
        return None

    async def captions(self, room: str, count: int = 50) -> list[Caption]:
        """The newest `count` (at most 1000) final captions, oldest first, one per utterance in
        its highest revision. Empty for an unknown room."""
        if count < 1:
            return []
        messages = await self._run(
            "captions", [keys.captions(room), keys.caption_order(room)], [min(count, 1000)]
        )
        events = bus.decode_events(messages)
        return [event.caption for event in events if isinstance(event, CaptionPosted)]

    async def set_captions_status(self, status: CaptionsStatus, ttl_s: float = 15.0) -> None:
        """Say how far the captions are, to everybody; holds for `ttl_s` unless repeated."""
        message = bus.encode_event(CaptionsStatusChanged(status))
        async with self._reachable(), self.redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.CAPTIONS_STATUS, message, px=max(1, round(ttl_s * 1000)))
            pipe.execute_command("SPUBLISH", keys.STATUS_CHANNEL, message)
            await pipe.execute()

    async def captions_status(self) -> CaptionsStatus:
        """What a worker said last; `off` where none has said anything lately."""
        message = await self._call("GET", keys.CAPTIONS_STATUS)
        if message is None:
            return CaptionsStatus("off", "No caption worker is running.")
        _, event = bus.decode_event(message)
        assert isinstance(event, CaptionsStatusChanged)
        return event.status
