"""Firefox Translations: small Marian models through `fxtranslate`, 6 to 28 ms a sentence.

A pair is a folder below `<root>/firefox` that holds `model.<pair>.*.bin` and either one
`vocab.<pair>.spm` or `srcvocab.<pair>.spm` and `trgvocab.<pair>.spm`, as Mozilla names them.
"""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
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


class FirefoxEngine:
    """Every pair below `<root>/firefox`, loaded when first used.

    `fxtranslate` lets its objects be used and freed by nobody but the thread that made them,
    so they live in the locals of one thread of the engine's own.
    """

    name = "firefox"
    generative = False

    def __init__(self, root: Path) -> None:
        self._folder = root / "firefox"
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="firefox")
        self._mine = threading.local()
        self._found = find_pairs(self._folder)

    def pairs(self) -> set[tuple[str, str]]:
        return set(self._found)

    def refresh(self) -> None:
        self._found = find_pairs(self._folder)
        self._thread.submit(self._forget_gone).result()

    def load(self, source: str, target: str) -> None:
        self._thread.submit(self._load, source, target).result()

    def translate(self, texts: list[str], source: str, target: str) -> list[str]:
        return self._thread.submit(self._translate, texts, source, target).result()

    def close(self) -> None:
        self._thread.submit(lambda: self._loaded().clear())
        self._thread.shutdown()

    # ------------------------------------------------------- only on the engine's thread

    def _loaded(self) -> dict[tuple[str, str], Any]:
        if not hasattr(self._mine, "loaded"):
            self._mine.loaded = {}
        loaded: dict[tuple[str, str], Any] = self._mine.loaded
        return loaded

    def _forget_gone(self) -> None:
        loaded = self._loaded()
        for pair in loaded.keys() - self._found.keys():
            del loaded[pair]

    def _load(self, source: str, target: str) -> None:
        files = self._found[source, target]
        loaded = self._loaded()
        if (source, target) in loaded:
            return
        try:
            from fxtranslate import Translator

            loaded[source, target] = Translator(
                files.model.read_bytes(),
                files.source_vocabulary.read_bytes(),
                files.target_vocabulary.read_bytes(),
            )
        except (OSError, ValueError, ImportError) as error:
            raise ModelUnavailable(
                f"The Firefox model {files.model} cannot be loaded: {error}. "
                f"Run `chatroom models verify` to see what is wrong."
            ) from error

    def _translate(self, texts: list[str], source: str, target: str) -> list[str]:
        self._load(source, target)
        translator = self._loaded()[source, target]
        return [translator.translate_long(text) for text in texts]
