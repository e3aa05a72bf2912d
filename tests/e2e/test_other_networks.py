"""Browsers in a network of their own: Firefox, which does not pair with loopback, and a cable
that is pulled."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, expect

from tests.e2e.browsers import (
    CHROMIUM,
    context_of,
    enter,
    enter_as_host,
    finals,
    inbound,
    launch,
    live,
    watched_page,
)
from tests.e2e.running import Network, Program
from tests.e2e.speech import best_wer

SCRIPT = Path(__file__).with_name("firefox_listen.mjs")


@pytest.fixture(scope="module")
def invitation(program: Program, speaking: Browser) -> Iterator[str]:
    """The path of a room in which somebody talks."""
    program.wait_captions()
    made = program.create_room("Across networks", ("en", "pt"))
    page, faults = watched_page(context_of(speaking))
    enter_as_host(page, program.url, made["host_link"])
    yield made["invite_link"]
    assert faults == []
    page.context.close()


def test_firefox_hears_and_reads(
    program: Program, net: Network, invitation: str, recording: tuple[Path, float, str]
) -> None:
    _, seconds, text = recording
    url = f"http://{net.host}:{program.port}{invitation}"
    done = subprocess.run(
        net.command("node", str(SCRIPT), url, str(1.3 * seconds), "pt"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    heard = json.loads(done.stdout)
    loudest = max(heard["streams"], key=lambda stream: stream["energy"])
    assert loudest["packets"] > 200
    assert loudest["energy"] > 0.01
    assert loudest["concealed"] / loudest["samples"] < 0.01, heard
    assert best_wer(text, " ".join(heard["originals"])) <= 0.5, heard
    assert heard["translations"], heard
    assert heard["faults"] == []


def test_words_and_sound_come_back_after_the_network_was_gone(
    program: Program, net: Network, invitation: str, playwright: Playwright, tmp_path: Path
) -> None:
    browser = launch(playwright, executable=net.wrapper(tmp_path, CHROMIUM))
    try:
        page, faults = watched_page(context_of(browser))
        enter(page, f"http://{net.host}:{program.port}{invitation}", "Rui", "pt")
        expect(page.locator(".caption:not(.partial)").first).to_be_visible(timeout=30_000)
        before = finals(page)
        try:
            net.link(up=False)
            expect(page.locator("#connection")).to_have_attribute("data-state", "reconnecting")
            page.wait_for_timeout(6_000)
            at_loss = sum(stream["packets"] for stream in inbound(page))
        finally:
            net.link(up=True)
        live(page)
        page.wait_for_timeout(3_000)
        assert sum(stream["packets"] for stream in inbound(page)) > at_loss + 50
        after = finals(page)
        assert after[: len(before)] == before, "nothing that was read is lost"
        # What was said meanwhile is there too.
        expect(page.locator(".caption:not(.partial)")).not_to_have_count(len(before))
        assert faults == []
    finally:
        browser.close()
