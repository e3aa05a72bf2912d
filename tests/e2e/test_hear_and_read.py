"""The main job: one person speaks in one browser, another hears and reads them in another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsers import context_of, enter, finals, inbound, live, watched_page
from tests.e2e.running import Program
from tests.e2e.speech import best_wer

TITLE = "Kitchen stories"


@dataclass
class Scene:
    host: Page
    listener: Page
    faults: list[str]
    invitation: str


@pytest.fixture(scope="module")
def scene(program: Program, speaking: Browser, listening: Browser) -> Iterator[Scene]:
    """A room made on the page itself, its host talking, one listener who reads Portuguese."""
    program.wait_captions()
    host, faults = watched_page(context_of(speaking))
    host.goto(program.url)
    host.fill("#title", TITLE)
    host.fill("#host-name", "Hana Novak")
    host.select_option("#speaks", "en")
    host.select_option("#add-language", "pt")
    host.fill("#rules", "One at a time.\nBe kind.")
    host.click("#create-button")
    expect(host.locator("#created")).to_be_visible()
    invitation = host.input_value("#invite-link")
    host.click("#enter")
    expect(host.locator("#join-heading")).to_contain_text("Hana Novak")
    assert "token" not in host.url, "the host's pass is out of the address"
    host.click("#join-button")
    live(host)

    listener, more = watched_page(context_of(listening))
    listener.goto(invitation)
    expect(listener.locator("#join-title")).to_have_text(TITLE)
    expect(listener.locator("#join-rules")).to_contain_text("Be kind.")
    expect(listener.locator("#join-stage")).to_contain_text("Hana Novak")
    enter(listener, invitation, "Rui", "pt")
    yield Scene(host, listener, faults + more, invitation)
    host.context.close()
    listener.context.close()


def test_the_listener_hears_the_speaker_without_gaps(
    scene: Scene, recording: tuple[Path, float, str]
) -> None:
    card = scene.listener.locator("#stage .member", has_text="Hana Novak")
    expect(card).to_be_visible()
    # Whoever talks gets a ring.
    expect(scene.listener.locator("#stage .member.talking")).to_contain_text("Hana Novak")
    before = {int(s["packets"]) for s in inbound(scene.listener)}
    # Two rounds of the recording also give the next test its words.
    scene.listener.wait_for_timeout(2 * recording[1] * 1000)
    streams = inbound(scene.listener)
    heard = max(streams, key=lambda stream: stream["energy"])
    assert heard["packets"] > max(before, default=0) + 200
    assert heard["energy"] > 0.01
    assert heard["concealed"] / heard["samples"] < 0.01, streams


def test_the_listener_reads_the_words_and_their_translation(
    scene: Scene, recording: tuple[Path, float, str]
) -> None:
    _, seconds, text = recording
    page = scene.listener
    deadline = time.monotonic() + 2 * seconds
    while best_wer(text, " ".join(finals(page))) > 0.15 and time.monotonic() < deadline:
        page.wait_for_timeout(500)
    assert best_wer(text, " ".join(finals(page))) <= 0.15, finals(page)
    translated = " ".join(finals(page, "translation")).lower()
    assert "jovem" in translated or "homem" in translated, translated
    # Speaker's name, language and both lines belong together.
    first = page.locator(".caption:not(.partial):has(.translation)").first
    assert first.locator(".by b").text_content() == "Hana Novak"
    expect(first.locator(".original")).to_have_attribute("lang", "en")
    expect(first.locator(".translation")).to_have_attribute("lang", "pt")


def test_a_tentative_line_looks_so_and_becomes_final_in_place(scene: Scene) -> None:
    page = scene.listener
    # Looked at in one go: it may be final a moment later. A busy machine skips some of them.
    tentative = page.wait_for_function(
        """() => {
            const line = document.querySelector(".caption.partial .original");
            return line && {
                style: getComputedStyle(line).fontStyle,
                utterance: line.closest("li").dataset.utterance,
            };
        }""",
        timeout=60_000,
    ).json_value()
    assert tentative["style"] == "italic"
    page.wait_for_function(
        "u => !document.querySelector(`[data-utterance='${u}']`)?.classList.contains('partial')",
        arg=tentative["utterance"],
        timeout=20_000,
    )
    same = page.locator(f'.caption[data-utterance="{tentative["utterance"]}"]')
    assert same.count() == 1
    assert same.locator(".original").evaluate("e => getComputedStyle(e).fontStyle") == "normal"


def test_reading_back_is_not_disturbed(scene: Scene) -> None:
    page = scene.listener
    page.set_viewport_size({"width": 700, "height": 420})
    box = page.locator("#captions-scroll")
    box.evaluate("e => { e.scrollTop = 0; }")
    page.wait_for_timeout(200)
    expect(page.locator("#newest")).to_be_visible(timeout=30_000)
    assert box.evaluate("e => e.scrollTop") == 0
    page.click("#newest")
    assert box.evaluate("e => e.scrollHeight - e.scrollTop - e.clientHeight") < 60
    expect(page.locator("#newest")).to_be_hidden()
    page.set_viewport_size({"width": 1280, "height": 800})


def test_changing_the_language_translates_what_was_said(scene: Scene) -> None:
    page = scene.listener
    page.select_option("#captions-language", "")
    expect(page.locator(".translation")).to_have_count(0)
    page.select_option("#captions-language", "pt")
    expect(page.locator(".translation").first).to_be_visible()


def test_a_reload_goes_straight_back_with_the_history(scene: Scene) -> None:
    page = scene.listener
    before = finals(page)
    page.reload()
    live(page)
    expect(page.locator(".caption").first).to_be_visible()
    after = finals(page)
    assert len(before) > 2
    assert all(line in after for line in before[-3:-1])
    page.wait_for_timeout(3000)
    assert max(stream["packets"] for stream in inbound(page)) > 50


def test_the_page_broke_nothing_on_the_way(scene: Scene) -> None:
    assert scene.faults == []
