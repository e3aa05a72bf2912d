"""Every name that this project uses in Redis, in one place.

Keys and channels of a room share the hash tag `{id}`, so that in a cluster they lie on one node
and scripts and transactions may use them together. Live channels are sharded (SPUBLISH,
SSUBSCRIBE). What belongs to no room starts with `chatroom:`.
"""

from __future__ import annotations

from chatroom.errors import RoomNotFound
from chatroom.ids import is_room_id


def _of(room: str, what: str) -> str:
    if not is_room_id(room):
        raise RoomNotFound("There is no such room.")
    return f"room:{{{room}}}:{what}"


def state(room: str) -> str:
    """Hash: `v` version, `d` msgpack of the Room, `over` empty or why it is over, `ttl` of an
    idle room in ms. Its time to live is the room's."""
    return _of(room, "state")


def events(room: str) -> str:
    """Stream of the stored events; one field `e`, a bus message."""
    return _of(room, "events")


def captions(room: str) -> str:
    """Hash: utterance to "<revision> " and the bus message of its newest final caption."""
    return _of(room, "captions")


def caption_order(room: str) -> str:
    """Sorted set: utterances of `captions` by start on the room's clock."""
    return _of(room, "caption-order")


def presence(room: str) -> str:
    """Hash: node to "<until, server ms> <listeners> <languages, joined by commas>"."""
    return _of(room, "presence")


def lease(room: str) -> str:
    """String: the token of the worker that holds the room; expires."""
    return _of(room, "lease")


def live(room: str) -> str:
    """Sharded channel: events as they happen, stored or not."""
    return _of(room, "live")


def media(room: str) -> str:
    """Sharded channel: speakers' Opus frames, and notes on the speakers, for workers and nodes."""
    return _of(room, "media")


SPEAKING = "chatroom:speaking"
"""Sorted set: rooms by the server time (ms) at which media was last seen."""

CAPTIONS_STATUS = "chatroom:{status}:captions"
"""String: bus message of the newest CaptionsStatusChanged; expires."""

STATUS_CHANNEL = "chatroom:{status}:live"
"""Sharded channel: changes that concern every room."""


def secret(name: str) -> str:
    """String: random bytes shared by all nodes, made once."""
    return f"chatroom:secret:{name}"
