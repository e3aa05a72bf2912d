"""Any WHIP publisher and WHEP player works, not only our page: aiortc, and libdatachannel."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsers import context_of, enter, inbound, watched_page
from tests.e2e.running import Network, Program
from tests.e2e.speech import RATE, load

HERE = Path(__file__).parent


@dataclass
class Room:
    program: Program
    address: str
    """Of the server, as clients reach it; aiortc and libdatachannel pass loopback over."""
    room: str
    host_token: str
    page: Page
    """A listener in Chromium."""

    def command(self, script: str, role: str, token: str, seconds: float, *more: str) -> list[str]:
        runner = sys.executable if script.endswith(".py") else "node"
        endpoint = "whip" if role == "publish" else "whep"
        url = f"http://{self.address}:{self.program.port}/rooms/{self.room}/{endpoint}"
        return [runner, str(HERE / script), role, url, token, str(seconds), *more]

    def listener_token(self) -> str:
        joined = self.program.post(f"/api/rooms/{self.room}/participants", {"name": "Player"})
        return str(joined["token"])


@pytest.fixture
def room(program: Program, net: Network, listening: Browser) -> Iterator[Room]:
    made = program.create_room("Any client")
    page, faults = watched_page(context_of(listening))
    enter(page, program.url + made["invite_link"], "Rui", None)
    yield Room(program, net.host, made["room"]["room"], made["token"], page)
    assert faults == []
    page.context.close()


@pytest.fixture(scope="module")
def opus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded clip as 20 ms Opus packets, for a client that has no encoder."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = RATE
    encoder.layout = "mono"
    encoder.format = av.AudioFormat("s16")
    encoder.open()
    samples = load("en-real-2.wav")
    packets = []
    for start in range(0, len(samples) - 960, 960):
        frame = av.AudioFrame.from_ndarray(
            samples[start : start + 960].reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    path = tmp_path_factory.mktemp("opus") / "packets.json"
    path.write_text(json.dumps([base64.b64encode(packet).decode() for packet in packets]))
    return path


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE
    )


@pytest.mark.parametrize("script", ["aiortc_peer.py", "libdatachannel_peer.mjs"])
def test_a_foreign_publisher_and_player(
    room: Room, script: str, opus_file: Path, recording: tuple[Path, float, str]
) -> None:
    sound = str(recording[0] if script.endswith(".py") else opus_file)
    publisher = start(room.command(script, "publish", room.host_token, 9, sound))
    expect(room.page.locator("#stage .member:not(.away)", has_text="Hana")).to_be_visible()
    player = start(room.command(script, "play", room.listener_token(), 4))
    played = finish(player)
    published = finish(publisher)

    # Chromium heard the foreign publisher.
    heard = max(inbound(room.page), key=lambda stream: stream["energy"])
    assert heard["packets"] > 200
    assert heard["energy"] > 0.01
    # The foreign player got the sound of one slot, in order.
    assert played["packets"] > 100, played
    assert played.get("energy", 1) > 0.001, played
    assert played.get("late", 0) == 0, played
    assert len(played.get("ssrcs", ["one"])) == 1, played
    for each in (published, played):
        assert (each["post"], each["delete"], each["state"]) == (201, 200, "connected")


def test_a_listener_may_not_publish(room: Room) -> None:
    process = start(
        room.command("aiortc_peer.py", "publish", room.listener_token(), 1, str(HERE / "none.wav"))
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert errors
