"""From an empty disk to models in memory."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatroom.errors import ModelUnavailable
from translate.loader import Loader
from translate.models import ModelStore
from translate.settings import CaptionSettings

pytestmark = pytest.mark.models


async def until(condition: Callable[[], Any], timeout: float = 30) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.02)


def settings(tmp_path: Path, **changes: Any) -> CaptionSettings:
    return CaptionSettings(models=str(tmp_path / "models"), **changes)


class Sources:
    """What fetching does in a test: links one model after the other into the empty root, when
    it is let go."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.fail = ""
        self.go = threading.Event()
        self.asked: list[str] = []
        sources = self

        def fetch(store: ModelStore, names: Any, progress: Any = None, **options: Any) -> None:
            for name in names:
                sources.asked.append(name)
                while not sources.go.wait(0.05):
                    if options["cancel"].is_set():
                        raise ModelUnavailable("cancelled")
                if sources.fail:
                    raise ModelUnavailable(sources.fail)
                folder = store.folder(name)
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.symlink_to(sources.root / store.model(name).folder)

        monkeypatch.setattr(ModelStore, "fetch", fetch)


async def test_speech_is_ready_before_translations_are(
    tmp_path: Path, models_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Sources(models_root, monkeypatch)
    loader = Loader(settings(tmp_path))
    task = asyncio.create_task(loader.run())
    await until(lambda: loader.readiness.state == "fetching")
    assert "whisper-base" in loader.readiness.detail
    sources.go.set()
    await until(lambda: sources.asked)
    sources.go.clear()
    await until(lambda: loader.recogniser is not None and loader.readiness.progress is not None)
    assert loader.readiness.state == "ready", "recognition goes on while the rest is fetched"
    sources.go.set()
    await asyncio.wait_for(task, 30)
    assert (loader.readiness.state, loader.readiness.detail) == ("ready", "")
    assert {("en", "pt"), ("pt", "en")} <= loader.translator.pairs()
    await loader.warm([("en", "pt"), ("en", "en"), ("en", "fr")])
    assert await loader.translator.translate("Good morning!", "en", "pt") == "Bom dia!"
    await loader.close()


async def test_a_fetch_that_fails_names_the_command_and_is_tried_again(
    tmp_path: Path, models_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("translate.loader._LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("translate.loader._RETRY_S", (0.1, 0.2))
    sources = Sources(models_root, monkeypatch)
    sources.fail = "No source answers."
    sources.go.set()
    loader = Loader(settings(tmp_path))
    task = asyncio.create_task(loader.run())
    await until(lambda: loader.readiness.state == "failed")
    assert loader.readiness.detail == (
        "The model whisper-base cannot be used: No source answers. "
        "Run `chatroom models fetch whisper-base`."
    )
    await until(lambda: len(sources.asked) > 1)
    sources.fail = ""
    await asyncio.wait_for(task, 30)
    assert loader.recogniser is not None
    await loader.close()


async def test_it_can_be_stopped_in_mid_fetch(
    tmp_path: Path, models_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Sources(models_root, monkeypatch)
    loader = Loader(settings(tmp_path))
    task = asyncio.create_task(loader.run())
    await until(lambda: sources.asked)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(loader.close(), 10)


async def test_a_broken_speech_model_says_how_to_mend_it(tmp_path: Path, models_root: Path) -> None:
    loader = Loader(settings(tmp_path, fetch=False))
    model = loader.store.model("whisper-base")
    for file in model.files:  # the right sizes, no content
        path = loader.store.folder("whisper-base") / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as empty:
            empty.truncate(file.size)
    task = asyncio.create_task(loader.run())
    await until(lambda: loader.readiness.state == "failed")
    assert "`chatroom models remove whisper-base`" in loader.readiness.detail
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await loader.close()
