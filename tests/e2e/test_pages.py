"""The pages as people meet them: on a phone, in Chinese, with a bad link, without a microphone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests.e2e.browsers import context_of, enter, enter_as_host, launch, watched_page
from tests.e2e.running import Program

PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True}


def fits(page: Page) -> bool:
    """Whether nothing sticks out sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.fixture
def made(program: Program) -> Any:
    return program.create_room("Stories from three oceans, told slowly", ("en", "pt", "zh"))


def test_chinese_on_a_phone(program: Program, listening: Browser, made: Any) -> None:
    context = context_of(listening, locale="zh-CN", color_scheme="dark", **PHONE)
    page, faults = watched_page(context)
    page.goto(program.url)
    expect(page.locator("#create-button")).to_have_text("开房间")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert fits(page)
    enter(page, program.url + made["invite_link"], "小明", "zh")
    expect(page.locator("#hand-button")).to_contain_text("举手")
    assert fits(page)
    # Everything that is pressed is big enough for a finger and inside the screen.
    for button in page.locator(".dock button:visible, .room-head button:visible").all():
        box = button.bounding_box()
        assert box
        assert box["width"] >= 36
        assert box["height"] >= 36
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    # The language of the page can be changed, and is remembered.
    page.click("#settings-button")
    page.select_option("#settings-ui", "en")
    expect(page.locator("#settings-heading")).to_have_text("Settings")
    page.reload()
    expect(page.locator("#hand-button")).to_contain_text("Raise hand")
    assert faults == []
    context.close()


def test_no_text_is_left_without_words(program: Program, listening: Browser, made: Any) -> None:
    """A missing message would show its key."""
    key = re.compile(r"^[a-z]+\.[a-z_.]+$")
    for locale in ("en-US", "zh-CN"):
        context = context_of(listening, locale=locale)
        page, _ = watched_page(context)
        for path in ("/", made["invite_link"]):
            page.goto(program.url + path)
            expect(page.locator("button:visible").first).to_be_visible()
            texts = page.evaluate(
                """() => [...document.querySelectorAll("[data-i18n], [data-i18n-attr]")].flatMap(
                    (e) => [e.textContent.trim(), e.ariaLabel ?? "", e.title ?? ""])"""
            )
            assert [text for text in texts if key.match(text)] == []
        context.close()


@pytest.mark.parametrize("path", ["/r/aaaaaaaaaa", "/r/not%20a%20room", "/r/363bfnvm"])
def test_a_bad_link_says_so(program: Program, listening: Browser, path: str) -> None:
    context = context_of(listening)
    page, faults = watched_page(context)
    page.goto(program.url + path)
    expect(page.locator("#message-title")).to_have_text("There is no room here")
    expect(page.locator("#message-text")).to_be_visible()
    page.get_by_role("link", name="Open a new room").click()
    expect(page.locator("#create-form")).to_be_visible()
    assert faults == []
    context.close()


def test_errors_are_said_in_place_and_nothing_typed_is_lost(
    program: Program, listening: Browser
) -> None:
    context = context_of(listening)
    page, _ = watched_page(context)
    page.goto(program.url)
    page.fill("#host-name", "Hana")
    page.fill("#rules", "Be kind.")
    page.click("#create-button")
    expect(page.locator("#create-error")).to_have_text("Say what the room is about.")
    expect(page.locator("#title")).to_be_focused()
    page.fill("#title", "Stories")
    page.route("**/api/rooms", lambda route: route.abort())
    page.click("#create-button")
    expect(page.locator("#create-error")).to_contain_text("cannot be reached")
    assert page.input_value("#rules") == "Be kind."
    page.unroute("**/api/rooms")
    page.click("#create-button")
    expect(page.locator("#created")).to_be_visible()
    context.close()


def test_a_refused_microphone_is_explained(
    program: Program, playwright: Playwright, made: Any
) -> None:
    browser = launch(playwright)
    context: BrowserContext = context_of(browser)
    # What the browser says when the person presses "block".
    context.add_init_script(
        """navigator.mediaDevices.getUserMedia = async () => {
             throw new DOMException("Permission denied", "NotAllowedError"); };"""
    )
    page, faults = watched_page(context)
    enter_as_host(page, program.url, made["host_link"])
    expect(page.locator("#banner")).to_contain_text("The browser refused the microphone")
    expect(page.locator("#banner-button")).to_have_text("Try again")
    expect(page.locator("#mic-button")).to_contain_text("Turn on microphone")
    assert faults == []
    browser.close()


def test_the_keyboard_alone_is_enough(program: Program, listening: Browser, made: Any) -> None:
    context = context_of(listening)
    page, _ = watched_page(context)
    page.goto(program.url + made["invite_link"])
    expect(page.locator("#join-name")).to_be_focused()
    page.keyboard.type("Rui")
    page.keyboard.press("Enter")
    expect(page.locator("#hand-button")).to_be_visible()
    page.focus("#hand-button")
    page.keyboard.press("Enter")
    expect(page.locator("#hand-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#hand-dialog")).to_be_hidden()
    expect(page.locator("#hand-button")).to_be_focused()
    context.close()


def test_every_control_has_a_name(program: Program, listening: Browser, made: Any) -> None:
    context = context_of(listening)
    page, _ = watched_page(context)
    enter(page, program.url + made["invite_link"], "Rui", "pt")
    page.click("#settings-button")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a[href]")]
             .filter((e) => e.checkVisibility())
             .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length || e.title))
             .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    context.close()


def test_nothing_is_asked_of_other_hosts(program: Program, listening: Browser, made: Any) -> None:
    context = context_of(listening)
    page, faults = watched_page(context)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(program.url)
    enter(page, program.url + made["invite_link"], "Rui", "pt")
    assert asked
    assert [url for url in asked if not url.startswith(program.url)] == []
    assert faults == []
    context.close()
