"""The limit of file descriptors: raised where allowed, and what it means."""

import logging
import resource
from collections.abc import Iterator

import pytest

from signaling import descriptors
from signaling.app import Server
from tests.signaling.conftest import Starter

HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.fixture
def lowered() -> Iterator[None]:
    """This process may open few files, until it asks for more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, HARD))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised(lowered: None) -> None:
    assert descriptors.raise_limit() >= 512
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (HARD, HARD)


def test_a_refusal_leaves_it(
    lowered: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert descriptors.raise_limit() == 512
    assert "stays at 512: not allowed" in caplog.text
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("limit", "wanted", "sockets"),
    [(20_000, 10_000, 10_000), (20_000, 20_000, 17_276), (1024, 10_000, 672), (64, 10, 1)],
)
def test_how_many_sockets_fit(limit: int, wanted: int, sockets: int) -> None:
    assert descriptors.sockets_for(limit, wanted) == sockets


def test_fewer_than_wanted_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(descriptors, "raise_limit", lambda: 1024)
    with caplog.at_level(logging.INFO):
        assert descriptors.provide(100) == 100
        assert caplog.records[-1].levelname == "INFO"
        assert descriptors.provide(10_000) == 672
    assert caplog.records[-1].levelname == "WARNING"
    assert "672 WebSockets, not the 10000" in caplog.text


async def test_the_server_takes_what_fits(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "raise_limit", lambda: 1024)
    server: Server = await start()
    assert server.context.settings.max_sockets == 672
