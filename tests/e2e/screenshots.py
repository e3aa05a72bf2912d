"""Pictures of the pages for the documentation, taken of the real program: `make screenshots`.

People talk (recorded and synthetic voices of tests/data), their words are recognised and
translated; nothing in the pictures is drawn by hand.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
with contextlib.suppress(ModuleNotFoundError):
    # A package of this name that another distribution installed would hide ours.
    import tests

    tests.__path__.insert(0, str(ROOT / "tests"))

from tests.e2e.browsers import context_of, enter, enter_as_host, launch, watched_page  # noqa: E402
from tests.e2e.running import Program  # noqa: E402
from tests.e2e.speech import write_wav  # noqa: E402

IMAGES = ROOT / "docs" / "img"
RULES = "One person at a time, short turns.\nAsk before you record. Be kind."
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 780}


def shoot(page: Page, name: str) -> None:
    # Let short-lived messages go and animations end.
    expect(page.locator(".toast")).to_have_count(0, timeout=10_000)
    page.wait_for_timeout(300)
    page.screenshot(path=str(IMAGES / f"{name}.png"))
    print(IMAGES / f"{name}.png")


def person(browser: Browser, **options: object) -> Page:
    page, faults = watched_page(context_of(browser, **options))
    page.on("close", lambda: print(faults) if faults else None)
    return page


def create(page: Page, url: str) -> tuple[str, str]:
    """Make the room on the page; host link and invitation."""
    page.goto(url)
    page.fill("#title", "Kitchen stories across three oceans")
    page.fill("#host-name", "Hana Novak")
    page.select_option("#speaks", "en")
    page.select_option("#add-language", "pt")
    page.select_option("#add-language", "zh")
    page.fill("#rules", RULES)
    shoot(page, "create")
    page.click("#create-button")
    expect(page.locator("#created")).to_be_visible()
    shoot(page, "created")
    return page.input_value("#host-link"), page.input_value("#invite-link")


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        first, second = Path(folder, "first.wav"), Path(folder, "second.wav")
        write_wav(first, [0.5, "en-06.wav", 7.0, "en-05.wav", 7.0])
        write_wav(second, [0.5, "en-04.wav", 8.0, "en-07.wav", 7.0])
        program = Program(Path(folder, "server"))
        stack.callback(program.stop)
        program.wait_captions()
        playwright = stack.enter_context(sync_playwright())
        voices = [launch(playwright, microphone=file) for file in (first, second)]
        quiet = launch(playwright)
        for browser in (*voices, quiet):
            stack.callback(browser.close)

        host = person(voices[0])
        host_link, invitation = create(host, program.url)
        enter_as_host(host, program.url, host_link)
        guest = person(voices[1])
        enter(guest, invitation, "Ryan Cole", None)
        guest.click("#hand-button")
        guest.select_option("#hand-speaks", "en")
        guest.click("#hand-dialog .primary")
        host.get_by_role("button", name="Invite Ryan Cole onto the stage").click()
        guest.click("#invited-dialog button[value=yes]")

        reader = person(quiet)
        reader.goto(invitation)
        reader.fill("#join-name", "Rui")
        reader.select_option("#join-captions", "pt")
        shoot(reader, "join")
        enter(reader, invitation, "Rui", "pt")
        phone = person(quiet, viewport=PHONE, color_scheme="dark", device_scale_factor=2)
        enter(phone, invitation, "Bia", "pt")
        chinese = person(quiet, locale="zh-CN", viewport=PHONE, device_scale_factor=2)
        chinese.goto(invitation)
        chinese.fill("#join-name", "小明")
        shoot(chinese, "join-zh-phone")
        enter(chinese, invitation, "小明", None)
        chinese.click("#hand-button")
        chinese.select_option("#hand-speaks", "zh")
        chinese.click("#hand-dialog .primary")

        reader.wait_for_function(
            "() => document.querySelectorAll('.caption:not(.partial) .translation').length >= 5",
            timeout=90_000,
        )
        reader.locator(".caption.partial .translation").wait_for(timeout=30_000)
        shoot(reader, "room")
        shoot(phone, "room-phone")
        shoot(host, "host")
        host.emulate_media(color_scheme="dark")
        shoot(host, "host-dark")
        chinese.click("#settings-button")
        shoot(chinese, "settings-zh-phone")


if __name__ == "__main__":
    main()
