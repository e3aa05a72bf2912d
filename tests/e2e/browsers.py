"""Chromium as the tests drive it, and what they look at in a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

CHROMIUM = "/usr/bin/chromium"

_FLAGS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
    "--no-first-run",
    "--mute-audio",
]

# Keeps every connection that the page makes, so that a test can ask for its statistics.
_WATCH = """
    window.connections = [];
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) { super(...args); window.connections.push(this); }
    };
"""

_INBOUND = """async () => {
    const found = [];
    for (const pc of window.connections) {
      if (pc.connectionState === "closed") continue;
      for (const s of (await pc.getStats()).values())
        if (s.type === "inbound-rtp" && s.kind === "audio") found.push({
          packets: s.packetsReceived, lost: s.packetsLost, energy: s.totalAudioEnergy,
          concealed: s.concealedSamples, silent: s.silentConcealedSamples,
          samples: s.totalSamplesReceived, nacks: s.nackCount ?? 0,
        });
    }
    return found;
}"""

expect.set_options(timeout=20_000)


def launch(
    playwright: Playwright, *, microphone: Path | None = None, executable: Path | str = CHROMIUM
) -> Browser:
    """A Chromium of its own. With `microphone`, that WAV file is what it hears, in a loop, and
    the page is let at it."""
    flags = list(_FLAGS)
    if microphone:
        flags += [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
    return playwright.chromium.launch(executable_path=str(executable), args=flags)


def context_of(browser: Browser, **options: Any) -> BrowserContext:
    """A fresh profile in English on a wide screen, unless said otherwise."""
    defaults: dict[str, Any] = {
        "locale": "en-US",
        "viewport": {"width": 1280, "height": 800},
        "color_scheme": "light",
    }
    context = browser.new_context(**{**defaults, **options})
    context.add_init_script(_WATCH)
    return context


def watched_page(context: BrowserContext) -> tuple[Page, list[str]]:
    """A page, and the list of what goes wrong in it: exceptions and refused requests (CSP)."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
    page.on(
        "console",
        lambda message: (
            faults.append(f"console: {message.text}")
            if message.type == "error" and "Content Security Policy" in message.text
            else None
        ),
    )
    return page, faults


def enter_as_host(page: Page, url: str, host_link: str) -> None:
    page.goto(url + host_link if host_link.startswith("/") else host_link)
    page.click("#join-button")
    live(page)


def enter(page: Page, link: str, name: str, captions: str | None = "") -> None:
    """Join by an invitation. `captions`: a language, None for the originals, "" for whatever
    the page proposes."""
    page.goto(link)
    page.fill("#join-name", name)
    if captions != "":
        page.select_option("#join-captions", captions or "")
    page.click("#join-button")
    live(page)


def live(page: Page) -> None:
    """Wait until words and sound are connected."""
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def inbound(page: Page) -> list[dict[str, float]]:
    """Statistics of every received stream."""
    found: list[dict[str, float]] = page.evaluate(_INBOUND)
    return found


def finals(page: Page, kind: str = "original") -> list[str]:
    """The final lines on the page, oldest first."""
    return page.locator(f".caption:not(.partial) .{kind}").all_inner_texts()
