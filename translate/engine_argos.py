"""Argos Translate: OpenNMT models in CTranslate2, one `.argosmodel` package a direction.

A package is an installed folder below `<root>/argos` with `metadata.json`, `model/` and
`sentencepiece.model` (or `bpe.model`). Argos would download a sentence splitter when it first
translates; this engine gives it a local one instead, so nothing is ever downloaded here.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatroom.errors import ModelUnavailable

log = logging.getLogger(__name__)

_SENTENCE = re.compile(r"[^.!?…。！？]+(?:[.!?…。！？]+[\"'”’»)」』]*|$)\s*")


def split_sentences(text: str) -> list[str]:
    """The sentences of a caption, which is rarely more than one or two. A full stop between
    digits ends nothing ("3.5")."""
    pieces: list[str] = []
    for match in _SENTENCE.finditer(text):
        piece = match.group(0)
        if pieces and re.search(r"\d\.$", pieces[-1]) and re.match(r"\d", piece):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return [piece.strip() for piece in pieces if piece.strip()] or [text]


class LocalSentencizer:
    """What Argos asks of a sentence splitter."""

    def split_sentences(self, text: str) -> list[str]:
        return split_sentences(text)


def find_packages(folder: Path) -> dict[tuple[str, str], Path]:
    """The installed packages below a folder, by pair; broken ones are passed over."""
    found: dict[tuple[str, str], Path] = {}
    if not folder.is_dir():
        return found
    for place in sorted(folder.glob("[!.]*/")):
        try:
            about = read_metadata(place)
        except ValueError as error:
            log.warning("%s is no Argos package: %s", place, error)
            continue
        if about.get("type", "translate") == "translate" and (place / "model").is_dir():
            found.setdefault((about["from_code"], about["to_code"]), place)
    return found


def read_metadata(place: Path) -> dict[str, Any]:
    """A package's `metadata.json`. Raises ValueError where it cannot be used."""
    try:
        about = json.loads((place / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"metadata.json cannot be read: {error}") from None
    if not isinstance(about, dict):
        raise ValueError("metadata.json holds no object")
    for key in ("from_code", "to_code"):
        if not isinstance(about.get(key), str) or not re.fullmatch(r"[a-z]{2,3}", about[key]):
            raise ValueError(f"metadata.json has no usable {key}")
    return about


class ArgosEngine:
    """Every package below `<root>/argos`, loaded when first used."""

    name = "argos"
    generative = False

    def __init__(self, root: Path, threads: int = 1) -> None:
        self._folder = root / "argos"
        self._threads = max(1, threads)
        self._lock = threading.Lock()
        self._loaded: dict[tuple[str, str], Any] = {}
        self._found = find_packages(self._folder)

    def pairs(self) -> set[tuple[str, str]]:
        return set(self._found)

    def refresh(self) -> None:
        with self._lock:
            self._found = find_packages(self._folder)
            self._loaded = {k: v for k, v in self._loaded.items() if k in self._found}

    def load(self, source: str, target: str) -> None:
        self.translate(["."], source, target)

    def translate(self, texts: list[str], source: str, target: str) -> list[str]:
        with self._lock:
            translation = self._translation(source, target)
            try:
                return [str(translation.translate(text)).strip() for text in texts]
            except (RuntimeError, ValueError, OSError) as error:
                raise self._broken(source, target, error) from error

    def close(self) -> None:
        with self._lock:
            self._loaded.clear()

    def _translation(self, source: str, target: str) -> Any:
        pair = (source, target)
        if pair not in self._loaded:
            place = self._found[pair]
            try:
                with _argos_home(self._folder):
                    from argostranslate import settings
                    from argostranslate.package import Package
                    from argostranslate.translate import Language, PackageTranslation
                # One batch of one line at a time: the threads go into the line.
                settings.intra_threads = self._threads
                translation = PackageTranslation(
                    Language(source, source), Language(target, target), Package(place)
                )
                translation.sentencizer = LocalSentencizer()
            except Exception as error:  # whatever a broken package makes of Argos
                raise self._broken(source, target, error) from error
            self._loaded[pair] = translation
        return self._loaded[pair]

    def _broken(self, source: str, target: str, error: Exception) -> ModelUnavailable:
        place = self._found.get((source, target), self._folder)
        return ModelUnavailable(
            f"The Argos package in {place} cannot be used: {error}. "
            f"Run `chatroom models add {source} {target}` to install it again."
        )


@contextmanager
def _argos_home(folder: Path) -> Iterator[None]:
    """Argos makes its folders in the user's home when it is imported; let it make them here."""
    home = folder / ".home"
    places = ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    before = {name: os.environ.get(name) for name in places}
    os.environ.update({name: str(home) for name in places})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
