"""From the audience onto the stage and back, in two browsers; what a host can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsers import context_of, enter, enter_as_host, inbound, live, watched_page
from tests.e2e.running import Program


@dataclass
class People:
    host: Page
    guest: Page
    faults: list[str]


@pytest.fixture(scope="module")
def people(program: Program, speaking: Browser) -> Iterator[People]:
    """A host and a guest, each with a microphone."""
    made = program.create_room("The stage", ("en", "pt"))
    host, faults = watched_page(context_of(speaking))
    enter_as_host(host, program.url, made["host_link"])
    guest, more = watched_page(context_of(speaking))
    enter(guest, program.url + made["invite_link"], "Guest", "pt")
    yield People(host, guest, faults + more)
    host.context.close()
    guest.context.close()


def test_hand_invitation_stage_mute_and_back(people: People) -> None:
    host, guest = people.host, people.guest
    # A hand goes up, down, and up again.
    guest.click("#hand-button")
    guest.select_option("#hand-speaks", "en")
    guest.click("#hand-dialog .primary")
    expect(host.locator("#hands li")).to_contain_text("Guest")
    guest.click("#hand-button")
    expect(host.locator("#hands li")).to_have_count(0)
    guest.click("#hand-button")
    guest.click("#hand-dialog .primary")
    # The host invites; "not now" leaves the guest where they are.
    host.get_by_role("button", name="Invite Guest onto the stage").click()
    expect(guest.locator("#invited-dialog")).to_be_visible()
    guest.click("#invited-dialog button[value=no]")
    expect(guest.locator("#mic-button")).to_be_hidden()
    expect(host.locator("#toasts")).to_contain_text("Guest does not want to speak now")
    # Who declines has put the hand down with it.
    expect(guest.locator("#hand-button")).to_have_attribute("aria-pressed", "false")
    guest.click("#hand-button")
    guest.click("#hand-dialog .primary")
    host.get_by_role("button", name="Invite Guest onto the stage").click()
    guest.click("#invited-dialog button[value=yes]")
    # On stage, with a microphone, and heard by the host.
    expect(guest.locator("#mic-button")).to_contain_text("Mute")
    expect(guest.locator("#meter")).to_be_visible()
    expect(host.locator("#stage .member", has_text="Guest")).to_be_visible()
    expect(host.locator("#stage .member.talking", has_text="Guest")).to_be_visible()
    host.wait_for_timeout(2_000)
    assert max(stream["energy"] for stream in inbound(host)) > 0.001

    # Mute and unmute oneself.
    guest.click("#mic-button")
    expect(host.locator("#stage .member", has_text="Guest").locator(".badge")).to_be_visible()
    expect(guest.locator("#mic-button")).to_contain_text("Unmute")
    guest.click("#mic-button")
    expect(host.locator("#stage .member", has_text="Guest").locator(".badge")).to_have_count(0)

    # The host mutes, and moves the guest back.
    host.get_by_role("button", name="Manage Guest").click()
    host.click("#member-mute")
    expect(guest.locator("#mic-button")).to_contain_text("Unmute")
    expect(guest.locator("#toasts")).to_contain_text("A host muted you")
    host.get_by_role("button", name="Manage Guest").click()
    host.click("#member-down")
    expect(guest.locator("#mic-button")).to_be_hidden()
    expect(guest.locator("#hand-button")).to_be_visible()
    expect(host.locator("#stage .member")).to_have_count(1)
    live(guest)


def test_a_host_removes_somebody_who_then_stays_out(people: People, program: Program) -> None:
    host, guest = people.host, people.guest
    guest.click("#hand-button")
    guest.click("#hand-dialog .primary")
    host.get_by_role("button", name="Invite Guest onto the stage").click()
    guest.click("#invited-dialog button[value=yes]")
    host.get_by_role("button", name="Manage Guest").click()
    host.click("#member-remove")
    host.fill("#confirm-reason", "The rules say: be kind.")
    host.click("#confirm-yes")
    expect(guest.locator("#message-title")).to_have_text("You were taken out of the room")
    expect(guest.locator("#message-text")).to_contain_text("be kind")


def test_the_host_ends_the_room_after_a_question(people: People) -> None:
    host = people.host
    host.click("#settings-button")
    host.click("#end-room-button")
    host.click("#confirm-dialog button[value='']")
    live(host)
    host.click("#settings-button")
    host.click("#end-room-button")
    host.click("#confirm-yes")
    expect(host.locator("#message-title")).to_have_text("This room is over")
    assert people.faults == []
