"""Firefox Translations: small Marian models through `fxtranslate`, 6 to 28 ms a sentence.

A pair is a folder below `<root>/firefox` that holds `model.<pair>.*.bin` and either one
`vocab.<pair>.spm` or `srcvocab.<pair>.spm` and `trgvocab.<pair>.spm`, as Mozilla names them.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from chatroom.errors import ModelUnavailable

_FOLDER = re.compile(r"^([a-z]{2,3})[-_]([a-z]{2,3})$")
_MODEL = re.compile(r"^model\.([a-z]{2})([a-z]{2})\..*\.bin$")


@dataclass(frozen=True, slots=True)
class FirefoxFiles:
    """The files of one pair. One vocabulary may serve both sides."""

    model: Path
    source_vocabulary: Path
    target_vocabulary: Path


def find_pairs(folder: Path) -> dict[tuple[str, str], FirefoxFiles]:
    """The whole pairs in the folders of `folder`; one that lacks a file is passed over."""
    found: dict[tuple[str, str], FirefoxFiles] = {}
    if not folder.is_dir():
        return found
    for place in sorted(folder.glob("[!.]*/")):
        for model in sorted(place.glob("model.*.bin")):
            pair = _pair_of(place, model)
            source = _vocabulary(place, "srcvocab") or _vocabulary(place, "vocab")
            target = _vocabulary(place, "trgvocab") or _vocabulary(place, "vocab")
            if pair is not None and source is not None and target is not None:
                found.setdefault(pair, FirefoxFiles(model, source, target))
    return found


def _pair_of(place: Path, model: Path) -> tuple[str, str] | None:
    match = _FOLDER.match(place.name) or _MODEL.match(model.name)
    return (match.group(1), match.group(2)) if match else None


def _vocabulary(place: Path, prefix: str) -> Path | None:
    return next(iter(sorted(place.glob(f"{prefix}.*.spm"))), None)


_Loaded = dict[tuple[str, str], Any]
_Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class FirefoxEngine:
    """Every pair below `<root>/firefox`, loaded when first used.

    `fxtranslate` lets its objects be used and freed by nobody but the thread that made them,
    so they live in the locals of a thread of the engine's own, which ends with the engine.
    """

    name = "firefox"
    generative = False

    def __init__(self, root: Path) -> None:
        self._folder = root / "firefox"
        self._found = find_pairs(self._folder)
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        threading.Thread(target=_serve, args=(self._calls,), name="firefox", daemon=True).start()
        self._end = weakref.finalize(self, self._calls.put, None)

    def pairs(self) -> set[tuple[str, str]]:
        return set(self._found)

    def refresh(self) -> None:
        self._found = find_pairs(self._folder)
        self._run(_keep, frozenset(self._found))

    def load(self, source: str, target: str) -> None:
        self._run(_load, (source, target), self._found[source, target])

    def translate(self, texts: list[str], source: str, target: str) -> list[str]:
        lines: list[str] = self._run(
            _translate, texts, (source, target), self._found[source, target]
        )
        return lines

    def close(self) -> None:
        self._end()

    def _run(self, call: Callable[..., Any], *args: Any) -> Any:
        if not self._end.alive:
            raise RuntimeError("the engine is closed")
        future: Future[Any] = Future()
        self._calls.put((future, call, args))
        return future.result()


def _serve(calls: SimpleQueue[_Call | None]) -> None:
    loaded: _Loaded = {}
    while (item := calls.get()) is not None:
        future, call, args = item
        try:
            future.set_result(call(loaded, *args))
        except Exception as error:  # goes to whoever asked
            future.set_exception(error)
        del item, future, call, args
    loaded.clear()


def _keep(loaded: _Loaded, pairs: frozenset[tuple[str, str]]) -> None:
    for pair in loaded.keys() - pairs:
        del loaded[pair]


def _load(loaded: _Loaded, pair: tuple[str, str], files: FirefoxFiles) -> None:
    if pair in loaded:
        return
    try:
        from fxtranslate import Translator

        loaded[pair] = Translator(
            files.model.read_bytes(),
            files.source_vocabulary.read_bytes(),
            files.target_vocabulary.read_bytes(),
        )
    except (OSError, ValueError, ImportError) as error:
        raise ModelUnavailable(
            f"The Firefox model {files.model} cannot be loaded: {error}. "
            f"Run `chatroom models verify` to see what is wrong."
        ) from error


def _translate(
    loaded: _Loaded, texts: list[str], pair: tuple[str, str], files: FirefoxFiles
) -> list[str]:
    _load(loaded, pair, files)
    return [loaded[pair].translate_long(text) for text in texts]
