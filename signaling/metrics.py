"""`/metrics`: counters and gauges in the text format of Prometheus."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from signaling.context import Context, of

_NAME = re.compile(r"[^a-zA-Z0-9_]")
_BY_CAUSE = frozenset({"dropped", "errors"})
"""Maps whose keys become a label `cause` instead of names."""

Sample = tuple[str, Mapping[str, str], float]


async def metrics(request: web.Request) -> web.Response:
    return web.Response(
        body=render(samples(of(request))).encode(),
        headers={
            "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
            "Cache-Control": "no-store",
        },
    )


def samples(context: Context) -> Iterator[Sample]:
    """Everything that is counted on this node."""
    hub, stats = context.hub, context.hub.stats
    yield "uptime_seconds", {}, time.monotonic() - context.started
    yield "rooms", {}, len(hub.rooms)
    yield "sockets", {}, context.sockets
    yield "sockets_opened_total", {}, stats.opened
    yield "sockets_cut_total", {}, stats.cut
    yield "socket_frames_total", {}, stats.frames
    yield "socket_frames_encoded_total", {}, hub.encoded
    yield "socket_frames_skipped_total", {}, stats.skipped
    yield "socket_bytes_total", {}, stats.bytes
    sessions = [session for room in hub.rooms.values() for session in room.sessions.values()]
    for kind in ("publish", "listen"):
        yield "sessions", {"kind": kind}, sum(session.kind == kind for session in sessions)
    yield (
        "participants_here",
        {},
        sum(room.audience(time.monotonic())[0] for room in hub.rooms.values()),
    )
    yield "bus_frames_total", {}, context.bridge.published
    yield "bus_frames_dropped_total", {}, context.bridge.dropped
    yield "bus_reconnects_total", {}, context.live.reconnects
    yield "bus_bad_messages_total", {}, context.live.bad_messages
    yield "incidents_total", {}, context.incidents.count
    for code, count in context.incidents.refused.items():
        yield "refused_total", {"code": code}, count
    for state in ("off", "fetching", "loading", "ready", "degraded", "failed"):
        yield "captions_state", {"state": state}, float(hub.status.state == state)
    yield "captions_behind_seconds", {}, hub.status.behind_ms / 1000
    yield from _media(context)
    yield from _process()


def _process() -> Iterator[Sample]:
    """The samples that Prometheus's own clients give of their process, under the same names."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield "process_cpu_seconds_total", {}, usage.ru_utime + usage.ru_stime
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text().split()[1])
        yield "process_resident_memory_bytes", {}, pages * resource.getpagesize()


_COUNTERS = (
    "packets_sent",
    "bytes_sent",
    "packets_received",
    "bytes_received",
    "send_blocked",
    "shed",
    "retransmitted",
    "retransmissions_refused",
    "malformed_rtcp",
)
_WORST = ("loss_mean", "loss_p95", "jitter_ms_p50", "jitter_ms_p95", "rtt_ms_p50", "rtt_ms_p95")


def _media(context: Context) -> Iterator[Sample]:
    """The port's counters, and how sound is received in the room that receives it worst. Rooms
    have no lines of their own: a room's id is its invitation, which has no place in a page that
    anybody may read."""
    stats = context.media.stats()
    for key in _COUNTERS:
        yield f"media_{key}_total", {}, stats.pop(key)
    yield from flatten("media", stats)
    rooms = [context.media.room_stats(room) for room in context.hub.rooms]
    heard = [group for room in rooms for group in room.get("reception", {}).values()]
    for key in _WORST:
        yield f"media_reception_{key}", {}, max((group[key] for group in heard), default=0.0)


def flatten(prefix: str, value: Any, labels: Mapping[str, str] | None = None) -> Iterator[Sample]:
    """Nested maps of numbers as samples; text becomes a label of an info sample."""
    labels = labels or {}
    if isinstance(value, bool | int | float):
        yield prefix, labels, float(value)
    elif isinstance(value, str):
        yield f"{prefix}_info", {**labels, "value": value}, 1.0
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            last = prefix.rpartition("_")[2]
            if last in _BY_CAUSE and isinstance(inner, int | float):
                yield f"{prefix}_total", {**labels, "cause": str(key)}, float(inner)
            else:
                yield from flatten(f"{prefix}_{_NAME.sub('_', str(key))}", inner, labels)


def render(found: Iterator[Sample]) -> str:
    """The text; samples of one name stand together. Names ending in `_total` are counters, and
    the process's own have the names that every exporter gives them."""
    families: dict[str, list[str]] = {}
    for name, labels, value in found:
        full = name if name.startswith("process_") else f"chatroom_{name}"
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        shown = f"{value:.10g}"
        families.setdefault(full, []).append(
            f"{full}{{{inside}}} {shown}" if inside else f"{full} {shown}"
        )
    lines = []
    for full, rows in families.items():
        lines.append(f"# TYPE {full} {'counter' if full.endswith('_total') else 'gauge'}")
        lines += rows
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
