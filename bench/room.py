"""The whole room: N listeners, one speaker talking, one server process.

    python -m bench.room [--listeners 1000,3000,10000,30000] [--seconds 30] [--json]

Listeners are simulated by `chatroom swarm` in a process of its own on the same machine: its CPU is
not the server's, but the kernel's receive path on loopback runs in the sender's time, so the
server's figure includes it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import threading
import urllib.request

from bench.common import IMAGES, machine, server, swarm, table
from chatroom.protocol import Caption
from chatroom.redis_settings import RedisSettings
from chatroom.store import Store, connect_redis
from signaling.swarm_readers import stamp

LANGUAGES = ("en", "es", "zh")
UPDATES_PER_S = 2
MAX_READERS = 10_000


def measure(args: argparse.Namespace, listeners: int) -> dict[str, object]:
    """One row: a fresh server, the listeners joined, then sound (and captions)."""
    options = {"rate": args.rate, "duration": args.seconds, "speakers": args.speakers}
    options |= {"listeners": listeners, "sample": 100}
    with tempfile.TemporaryDirectory(prefix="chatroom-bench-") as data:
        settings = {"server_worker": "false", "media_max_peers": listeners + 100}
        settings |= {"server_max_sockets": MAX_READERS + 100, "redis_data": data}
        with server(**settings) as (url, _):
            if args.captions is None:
                report = swarm(url, **options)
            else:
                options |= {"websockets": min(listeners, MAX_READERS)}
                options |= {"captions": ",".join(LANGUAGES)}
                report = with_captions(url, data, options)
    return {
        "listeners": report["listeners"],
        "refused": report["refused"],
        "packing_ms": report["packing_ms"],
        "packets_per_s": report["packets_per_s"],
        "packets_lost": report["packets_lost"],
        "lost_at_receiver": report["dropped_by_our_own_socket"],
        "delay_ms_p50": report["delay_ms_p50"],
        "delay_ms_p99": report["delay_ms_p99"],
        "cpu_cores": report.get("server_cpu_cores"),
        "us_cpu_per_listener_s": _per_listener(report),
        "kb_per_listener": report.get("server_kb_per_listener"),
        "ms_cpu_per_join": report.get("server_ms_cpu_per_join"),
        "joins_per_s": report["joins_per_s"],
        "caption_ms_p50": report.get("caption_ms_p50"),
        "caption_ms_p99": report.get("caption_ms_p99"),
    }


def with_captions(url: str, data: str, options: dict[str, object]) -> dict[str, object]:
    """A swarm in a room into which captions are posted as a worker does, through Redis."""
    draft = json.dumps({"title": "Bench", "languages": ["en"]}).encode()
    request = urllib.request.Request(
        f"{url}/api/rooms", draft, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as response:
        created = json.load(response)
    room = created["room"]["room"]
    stop = threading.Event()
    poster = threading.Thread(target=lambda: asyncio.run(post_captions(data, room, stop)))
    poster.start()
    try:
        return swarm(url, room=room, token=created["token"], **options)
    finally:
        stop.set()
        poster.join()


async def post_captions(data: str, room: str, stop: threading.Event) -> None:
    """Two updates a second of somebody who never stops talking, in every language."""
    store = Store(connect_redis(RedisSettings(url=f"unix://{data}/redis.sock")))
    revision = 0
    while not stop.is_set():
        await asyncio.sleep(1 / UPDATES_PER_S)
        revision += 1
        text = f"{stamp()} and some more words, as many as a sentence has that somebody says"
        caption = Caption(
            utterance=f"bench-{revision // 8}",
            participant="bench",
            name="Bench",
            revision=revision,
            final=revision % 8 == 7,
            language="en",
            text=text,
            start_ms=500 * revision,
            end_ms=500 * revision + 400,
            translations=dict.fromkeys(LANGUAGES[1:], text),
        )
        await store.post_caption(room, caption)


def _per_listener(report: dict[str, object]) -> float | None:
    cores, listeners = report.get("server_cpu_cores"), report["listeners"]
    if not isinstance(cores, float) or not isinstance(listeners, int) or not listeners:
        return None
    return round(1e6 * cores / listeners, 2)


def plot(rows: list[dict[str, object]]) -> None:
    """Cost and delay against the number of listeners, to docs/img/room.svg."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    listeners = [row["listeners"] for row in rows]
    left.plot(listeners, [row["cpu_cores"] for row in rows], marker="o")
    left.set(xlabel="listeners", ylabel="server CPU, cores", xscale="log", ylim=(0, None))
    right.plot(listeners, [row["delay_ms_p50"] for row in rows], marker="o", label="p50")
    right.plot(listeners, [row["delay_ms_p99"] for row in rows], marker="o", label="p99")
    right.set(xlabel="listeners", ylabel="delay added, ms", xscale="log", ylim=(0, None))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "room.svg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listeners", default="1000,3000,10000,30000", help="sizes, by comma")
    parser.add_argument("--seconds", type=float, default=30.0, help="of sound, for each size")
    parser.add_argument("--rate", type=float, default=150.0, help="joins per second")
    parser.add_argument("--speakers", type=int, default=1)
    parser.add_argument(
        "--captions",
        choices=["websocket"],
        help=f"captions too: {UPDATES_PER_S} updates a second in {len(LANGUAGES)} languages, to "
        f"a WebSocket for each listener, up to {MAX_READERS}",
    )
    parser.add_argument("--plot", action="store_true", help="write docs/img/room.svg")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    args = parser.parse_args()
    rows = []
    for size in args.listeners.split(","):
        rows.append(measure(args, int(size)))
        print(table(rows[-1:]), flush=True)
    print("\n" + table(rows))
    if args.plot:
        plot(rows)
    if args.json:
        print(json.dumps({"machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
