"""Captions read in the sound: nothing of them on the WebSocket, nothing missed, nothing heard."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, WebSocket, expect

from tests.e2e.browsers import context_of, enter, enter_as_host, inbound, watched_page
from tests.e2e.running import Network, Program

SCRIPT = Path(__file__).with_name("firefox_listen.mjs")
_FINALS = """() => Object.fromEntries(
    [...document.querySelectorAll(".caption:not(.partial)")].map((line) => [
        line.dataset.utterance, line.querySelector(".original").textContent,
    ]))"""
_TRANSLATED = "() => document.querySelectorAll('.caption:not(.partial) .translation').length"


@pytest.fixture(scope="module")
def invitation(program: Program, speaking: Browser) -> Iterator[str]:
    """The path of a room in which somebody talks."""
    program.wait_captions()
    made = program.create_room("News in the sound", ("en",))
    page, faults = watched_page(context_of(speaking))
    enter_as_host(page, program.url, made["host_link"])
    yield made["invite_link"]
    assert faults == []
    page.context.close()


def told(page: Page) -> list[str]:
    """The kinds of messages that come over the page's WebSocket from now on."""
    kinds: list[str] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: kinds.append(json.loads(frame)["m"]["type"]))

    page.on("websocket", opened)
    return kinds


def waits_for(page: Page, kinds: list[str], kind: str, after: int = 0) -> None:
    for _ in range(60):
        if kind in kinds[after:]:
            return
        page.wait_for_timeout(500)
    raise AssertionError(f"no {kind} among {kinds}")


def loudest(page: Page) -> dict[str, float]:
    return max(inbound(page), key=lambda stream: stream["energy"])


def reads(page: Page, way: str) -> None:
    expect(page.locator("body")).to_have_attribute("data-news", way)


def test_every_final_caption_comes_in_the_sound_alone(
    program: Program, listening: Browser, invitation: str
) -> None:
    by_socket, faults = watched_page(context_of(listening))
    in_sound, more = watched_page(context_of(listening))
    kinds = told(in_sound)
    enter(in_sound, f"{program.url}{invitation}?captions=sound", "Rui", "pt")
    enter(by_socket, f"{program.url}{invitation}?captions=socket", "Ada", "pt")
    reads(in_sound, "sound")
    first = len(kinds)
    shares = []
    # A busy machine may be late for a moment, so the better half counts.
    for _ in range(2):
        before = loudest(in_sound)
        in_sound.wait_for_timeout(12_500)
        after = loudest(in_sound)
        assert after["energy"] > before["energy"]
        concealed = after["concealed"] - before["concealed"]
        shares.append(concealed / (after["samples"] - before["samples"]))
    finals = by_socket.evaluate(_FINALS)
    in_sound.wait_for_timeout(2_500)
    assert len(finals) >= 3
    found = in_sound.evaluate(_FINALS)
    assert {utterance: found.get(utterance) for utterance in finals} == finals
    assert in_sound.evaluate(_TRANSLATED) >= len(finals) - 1
    expect(in_sound.locator("#stage .member.talking")).to_contain_text("Hana")
    assert not {"caption", "talking", "presence"} & set(kinds[first:])
    assert min(shares) < 0.01, shares
    # Another language, without a new connection.
    in_sound.select_option("#captions-language", "")
    expect(in_sound.locator(".translation")).to_have_count(0)
    lines = in_sound.locator(".caption").count()
    expect(in_sound.locator(".caption")).not_to_have_count(lines, timeout=30_000)
    reads(in_sound, "sound")
    assert faults + more == []
    in_sound.context.close()
    by_socket.context.close()


def test_the_page_chooses_the_sound_by_itself_and_leaves_it_when_nothing_comes(
    program: Program, listening: Browser, invitation: str
) -> None:
    page, faults = watched_page(context_of(listening))
    kinds = told(page)
    enter(page, f"{program.url}{invitation}", "Ada", "pt")
    reads(page, "sound")
    page.wait_for_timeout(500)
    first = len(kinds)
    page.wait_for_timeout(8_000)
    assert "caption" not in kinds[first:]
    lines = page.locator(".caption").count()
    # The server's sound ends and with it the news.
    page.evaluate("() => window.connections.at(-1).getReceivers().forEach((r) => r.track.stop())")
    page.evaluate("() => window.connections.at(-1).close()")
    reads(page, "socket")
    waits_for(page, kinds, "caption", first)
    expect(page.locator(".caption")).not_to_have_count(lines, timeout=30_000)
    assert faults == []
    page.context.close()


def test_without_the_transform_the_socket_brings_them_as_ever(
    program: Program, listening: Browser, invitation: str
) -> None:
    context = context_of(listening)
    context.add_init_script("delete window.RTCRtpScriptTransform")
    page, faults = watched_page(context)
    kinds = told(page)
    enter(page, f"{program.url}{invitation}", "Ada", "pt")
    waits_for(page, kinds, "caption")
    assert faults == []
    context.close()


def test_where_the_worker_cannot_be_had_the_sound_and_the_socket_stay(
    program: Program, listening: Browser, invitation: str
) -> None:
    context = context_of(listening)
    context.route("**/news_worker.js", lambda route: route.abort())
    page, _ = watched_page(context)
    kinds = told(page)
    enter(page, f"{program.url}{invitation}", "Ada", "pt")
    waits_for(page, kinds, "caption")
    before = loudest(page)
    page.wait_for_timeout(5_000)
    assert loudest(page)["energy"] > before["energy"]
    context.close()


def test_firefox_reads_them_in_the_sound(program: Program, net: Network, invitation: str) -> None:
    url = f"http://{net.host}:{program.port}{invitation}?captions=sound"
    done = subprocess.run(
        net.command("node", str(SCRIPT), url, "22", "pt"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    assert heard["news"] == "sound"
    assert len(heard["originals"]) >= 3, heard
    assert heard["translations"], heard
    loudest = max(heard["streams"], key=lambda stream: stream["energy"])
    assert loudest["energy"] > 0.01
    assert loudest["concealed"] / loudest["samples"] < 0.01, heard
    assert heard["faults"] == []
