"""One running server for all browser tests, two browsers, and a network to lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.e2e.browsers import launch
from tests.e2e.running import Network, Program, network
from tests.e2e.speech import text_of, write_wav

CLIPS = ["en-real-1.wav", "en-real-2.wav", "en-real-4.wav"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def net() -> Iterator[Network]:
    """Before the server: it tells clients the addresses that it finds at its start."""
    with network() as made:
        yield made


@pytest.fixture(scope="session")
def program(net: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    running = Program(tmp_path_factory.mktemp("server"))
    yield running
    running.stop()


# A playwright that runs keeps pytest from running other event loops, so it ends with its module.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, str]:
    """What the speaker's microphone hears in a loop: file, seconds, text. LibriVox readers."""
    path = tmp_path_factory.mktemp("speech") / "microphone.wav"
    seconds = write_wav(path, [part for clip in CLIPS for part in (clip, 1.2)])
    return path, seconds, " ".join(text_of(clip) for clip in CLIPS)


@pytest.fixture(scope="module")
def speaking(playwright: Playwright, recording: tuple[Path, float, str]) -> Iterator[Browser]:
    """A browser with the recording as its microphone."""
    browser = launch(playwright, microphone=recording[0])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def listening(playwright: Playwright) -> Iterator[Browser]:
    """A browser without a microphone."""
    browser = launch(playwright)
    yield browser
    browser.close()
