"""From nothing on the disk to models in memory, beside everything else: fetch, load, warm up.

A model that cannot be had is said in words with the command that gets it; when somebody runs it,
or the network comes back, the worker goes on without a restart.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from chatroom.errors import ChatroomError
from translate.models import DEFAULT_LLM, ModelStore, OnProgress, Progress
from translate.settings import CaptionSettings
from translate.speech import Recogniser, WhisperRecogniser
from translate.text import ENGINES, Translator

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 2.0
"""How often the disk is looked at for models that somebody else fetches."""
_RETRY_S = (15.0, 300.0)
"""First and longest wait after a fetch that failed."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far the models are."""

    state: Literal["fetching", "loading", "ready", "failed"]
    detail: str = ""
    progress: float | None = None


class Loader:
    """Holds the recogniser, once there is one, and the translator, whose pairs grow."""

    def __init__(self, settings: CaptionSettings) -> None:
        self._settings = settings
        self.store = ModelStore(settings.models, mirror=settings.mirror)
        engines = [name for name in ENGINES if name != "llm" or settings.language_model]
        self.translator = Translator(
            Path(settings.models), engines=engines, threads=settings.translator_threads
        )
        self.recogniser: Recogniser | None = None
        self.readiness = Readiness("loading", "Looking for the models.")
        self._cancel = threading.Event()
        self._loaded: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Returns when everything wanted is there. Cancel it at any time."""
        try:
            await self._recogniser()
            await self._translations()
        finally:
            self._cancel.set()

    async def warm(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Bring pairs into memory that a room is about to need, each once."""
        new = {
            pair
            for pair in set(pairs) - self._loaded
            if any(leg.engine != "llm" for leg in self.translator.route(*pair) or ())
        }
        if new:
            self._loaded |= new
            await self.translator.load(new)

    async def close(self) -> None:
        """Give memory and threads back."""
        self._cancel.set()
        self.recogniser = None
        await self.translator.close()

    # ------------------------------------------------------------------------- inside

    async def _recogniser(self) -> None:
        name = self._settings.recogniser
        await self._fetch([name])
        while self.recogniser is None:
            self.readiness = Readiness("loading", "Loading the speech model.")
            try:
                self.recogniser = await asyncio.to_thread(
                    _load_recogniser, self.store.folder(name), self._settings.recogniser_threads
                )
            except (RuntimeError, OSError, ValueError) as error:
                log.exception("The speech model %s cannot be loaded", name)
                self.readiness = Readiness(
                    "failed",
                    f"The speech model {name} is broken ({type(error).__name__}). Run "
                    f"`chatroom models remove {name}` and `chatroom models fetch {name}`.",
                )
                await asyncio.sleep(_RETRY_S[0])
        self.readiness = Readiness("ready")

    async def _translations(self) -> None:
        names = list(self._settings.fetch_models) or self.store.defaults()
        if self._settings.language_model and DEFAULT_LLM not in names:
            names.append(DEFAULT_LLM)
        for name in names:
            if self.store.path(name) is None:
                await self._fetch([name], ready=True)
                await asyncio.to_thread(self.translator.refresh)
                self._loaded.clear()
        self.readiness = Readiness("ready")

    async def _fetch(self, names: list[str], *, ready: bool = False) -> None:
        """Until they are there. `ready`: captions run already, this only adds to them."""
        wait = _RETRY_S[0]
        label = " ".join(names)
        while any(self.store.path(name) is None for name in names):
            problem = "it is not there yet"
            if self._settings.fetch:
                self._report("fetching", f"Fetching {label}.", 0.0, ready)
                try:
                    await asyncio.to_thread(
                        self.store.fetch, names, self._progress(label, ready), cancel=self._cancel
                    )
                    return
                except ChatroomError as error:
                    problem = error.message
                    log.warning("Fetching %s failed: %s", label, error.message)
                except OSError as error:
                    problem = str(error)
                    log.warning("Fetching %s failed: %s", label, error)
            self._report(
                "failed",
                f"The model {label} cannot be used: {problem.rstrip('.')}. "
                f"Run `chatroom models fetch {label}`.",
                None,
                ready,
            )
            await self._appears(names, wait if self._settings.fetch else None)
            wait = min(wait * 2, _RETRY_S[1])

    async def _appears(self, names: list[str], timeout_s: float | None) -> None:
        """Until the models are on the disk, or the time is over."""
        waited = 0.0
        while timeout_s is None or waited < timeout_s:
            await asyncio.sleep(_LOOK_EVERY_S)
            waited += _LOOK_EVERY_S
            if all(self.store.path(name) is not None for name in names):
                return

    def _progress(self, label: str, ready: bool) -> OnProgress:
        def report(progress: Progress) -> None:  # called in the fetching thread
            self._report("fetching", f"Fetching {label}.", progress.fraction, ready)

        return report

    def _report(
        self,
        state: Literal["fetching", "failed"],
        detail: str,
        progress: float | None,
        ready: bool,
    ) -> None:
        self.readiness = Readiness("ready" if ready else state, detail, progress)


def _load_recogniser(folder: Path, threads: int) -> WhisperRecogniser:
    recogniser = WhisperRecogniser(folder, threads)
    recogniser.warm_up()
    return recogniser
