"""Translations under way, with engines that a test holds up."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatroom.errors import ModelUnavailable
from translate.desk import Desk
from translate.text import Translator


class Held:
    """An engine that waits until it is let go, and writes down what it was asked."""

    generative = False

    def __init__(self, name: str, pair: tuple[str, str]) -> None:
        self.name = name
        self._pair = pair
        self.asked: list[list[str]] = []
        self.go = threading.Event()
        self.error: Exception | None = None

    def pairs(self) -> set[tuple[str, str]]:
        return {self._pair}

    def refresh(self) -> None: ...

    def load(self, source: str, target: str) -> None: ...

    def translate(self, texts: list[str], source: str, target: str) -> list[str]:
        self.asked.append(list(texts))
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        return [f"{target} {text}" for text in texts]

    def close(self) -> None:
        self.go.set()


class Delivered:
    """Collects what comes back."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, str]] = []

    def to(self, label: str):  # type: ignore[no-untyped-def]
        return lambda text, error: self.got.append((label, text, error))

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                await asyncio.sleep(0.01)


@pytest.fixture
async def engines(tmp_path: Path) -> AsyncIterator[tuple[Translator, Held, Held]]:
    pt, es = Held("firefox", ("en", "pt")), Held("argos", ("en", "es"))
    translator = Translator(tmp_path, use_phrases=False, instances=[pt, es])
    yield translator, pt, es
    pt.go.set()
    es.go.set()
    await translator.close()


async def asked(engine: Held, count: int) -> None:
    async with asyncio.timeout(10):
        while len(engine.asked) < count:
            await asyncio.sleep(0.01)


async def test_finals_in_order_and_newest_partials_last(
    engines: tuple[Translator, Held, Held],
) -> None:
    translator, pt, _ = engines
    desk, got = Desk(translator, 20), Delivered()
    desk.ask_partial("u1", "one", "en", "pt", got.to("p1"))
    await asked(pt, 1)
    desk.ask_partial("u1", "one two", "en", "pt", got.to("p2"))
    desk.ask_partial("u1", "one two three", "en", "pt", got.to("p3"))
    desk.ask_final("u0", "zero", "en", "pt", got.to("f0"))
    desk.ask_final("u2", "done", "en", "pt", got.to("f2"))
    assert desk.behind_ms() >= 0
    pt.go.set()
    await got.until(4)
    assert [label for label, _, _ in got.got] == ["p1", "f0", "f2", "p3"]
    assert pt.asked == [["one"], ["zero", "done"], ["one two three"]]
    assert desk.behind_ms() == 0
    await desk.close()


async def test_a_final_replaces_its_tentative_words(
    engines: tuple[Translator, Held, Held],
) -> None:
    translator, pt, _ = engines
    desk, got = Desk(translator, 20), Delivered()
    desk.ask_final("u0", "zero", "en", "pt", got.to("f0"))
    await asked(pt, 1)
    desk.ask_partial("u1", "half a", "en", "pt", got.to("p1"))
    desk.ask_partial("u2", "noise", "en", "pt", got.to("p2"))
    desk.ask_final("u1", "half a line", "en", "pt", got.to("f1"))
    desk.forget("u2")
    pt.go.set()
    await got.until(2)
    await asyncio.sleep(0.02)
    assert got.got == [("f0", "pt zero", ""), ("f1", "pt half a line", "")]
    await desk.close()


async def test_a_slow_language_holds_up_no_other(
    engines: tuple[Translator, Held, Held],
) -> None:
    translator, pt, es = engines
    desk, got = Desk(translator, 20), Delivered()
    desk.ask_final("u0", "zero", "en", "pt", got.to("pt"))
    desk.ask_final("u0", "zero", "en", "es", got.to("es"))
    es.go.set()
    await got.until(1)
    assert got.got == [("es", "es zero", "")]
    pt.go.set()
    await got.until(2)
    await desk.close()


async def test_what_cannot_be_translated_says_why(
    engines: tuple[Translator, Held, Held],
) -> None:
    translator, pt, _ = engines
    desk, got = Desk(translator, 20), Delivered()
    pt.go.set()
    desk.ask_final("u0", "zero", "en", "fr", got.to("fr"))
    desk.ask_partial("u0", "zero", "en", "fr", got.to("never"))
    await got.until(1)
    pt.error = ModelUnavailable("broken")
    desk.ask_final("u1", "one", "en", "pt", got.to("broken"))
    await got.until(2)
    pt.error = ZeroDivisionError()
    desk.ask_final("u2", "two", "en", "pt", got.to("crash"))
    desk.ask_partial("u3", "three", "en", "pt", got.to("never"))
    await got.until(3)
    pt.error = None
    desk.ask_final("u4", "four", "en", "pt", got.to("well"))
    await got.until(4)
    assert got.got == [
        ("fr", "", "language_unavailable"),
        ("broken", "", "model_unavailable"),
        ("crash", "", "unavailable"),
        ("well", "pt four", ""),
    ]
    await desk.close()


async def test_stale_lines_are_not_translated(engines: tuple[Translator, Held, Held]) -> None:
    translator, pt, _ = engines
    desk, got = Desk(translator, 0.05), Delivered()
    desk.ask_final("u0", "zero", "en", "pt", got.to("f0"))
    await asked(pt, 1)
    desk.ask_final("u1", "one", "en", "pt", got.to("f1"))
    await asyncio.sleep(0.1)
    assert desk.behind_ms() >= 50
    pt.go.set()
    await got.until(2)
    assert got.got == [("f0", "pt zero", ""), ("f1", "", "unavailable")]
    assert pt.asked == [["zero"]]
    await desk.close()


async def test_a_slow_engine_gets_no_tentative_words(
    engines: tuple[Translator, Held, Held], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translate.desk._QUICK_S", 0.02)
    translator, pt, _ = engines
    desk, got = Desk(translator, 20), Delivered()
    desk.ask_final("u0", "zero", "en", "pt", got.to("f0"))
    await asyncio.sleep(0.1)
    pt.go.set()
    await got.until(1)
    desk.ask_partial("u1", "one", "en", "pt", got.to("never"))
    desk.ask_final("u2", "two", "en", "pt", got.to("f2"))
    await got.until(2)
    assert pt.asked == [["zero"], ["two"]]
    await desk.close()
