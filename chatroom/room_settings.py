"""What an operator may set about rooms."""

from __future__ import annotations

from dataclasses import dataclass

from chatroom.settings import setting


@dataclass(frozen=True)
class RoomSettings:
    """Section `[rooms]`."""

    stage_limit: int = setting(
        16, "How many people may be on stage at once, the host counted.", minimum=1, maximum=100
    )
    hands_limit: int = setting(
        200, "How many hands may be up at once; more get an error.", minimum=1, maximum=1000
    )
    removed_limit: int = setting(
        1000,
        "How many removed people a room remembers; the longest gone is forgotten first.",
        minimum=1,
        maximum=10_000,
    )
    event_history: int = setting(
        2000,
        "Events kept per room (captions included) for those who come back after a lost "
        "connection; who was away for more starts with the history below.",
        minimum=10,
        maximum=1_000_000,
    )
    caption_history: int = setting(
        200, "Final captions kept per room for late joiners.", minimum=1, maximum=1000
    )
    ended_ttl_s: int = setting(
        3600,
        "How long an ended room can still be looked at.",
        unit="s",
        minimum=1,
        maximum=30 * 86_400,
    )
    idle_ttl_s: int = setting(
        7 * 86_400,
        "How long a room where nobody is and nothing happens is kept.",
        unit="s",
        minimum=60,
        maximum=366 * 86_400,
    )
