"""Installing Argos packages: from a file on the disk, or by a pair from Argos's index."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from chatroom.errors import ModelUnavailable
from translate.engine_argos import read_metadata
from translate.sources import SourceError, download

INDEX = "https://raw.githubusercontent.com/argosopentech/argospm-index/main/index.json"
MAX_PACKAGE = 2 << 30
"""Bytes; the published ones have 50 to 400 MB."""
MAX_INDEX = 16 << 20

Tell = Callable[[str, int, int], None]
"""What is fetched, bytes so far, bytes in all (0 where that is unknown)."""


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


def install_file(path: Path, root: Path) -> tuple[str, str]:
    """Install a `.argosmodel` file below `<root>/argos`, in place of an older one. Returns its
    pair. Raises ModelUnavailable where it is no such package."""
    folder = root / "argos"
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    try:
        place = _unpack(path, work)
        about = read_metadata(place)
        if not (place / "model" / "model.bin").is_file():
            raise ValueError("it holds no model/model.bin")
        if not any((place / name).is_file() for name in ("sentencepiece.model", "bpe.model")):
            raise ValueError("it holds neither sentencepiece.model nor bpe.model")
        pair = (str(about["from_code"]), str(about["to_code"]))
        target = folder / f"{pair[0]}_{pair[1]}"
        shutil.rmtree(target, ignore_errors=True)
        os.replace(place, target)
        return pair
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ModelUnavailable(f"{path} is no Argos package: {error}.") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _unpack(path: Path, work: Path) -> Path:
    """Unpack a package that has one folder at its top; returns that folder. Nothing is written
    outside `work`, whatever the archive says."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > MAX_PACKAGE:
            raise ValueError(f"it unpacks to more than {MAX_PACKAGE >> 20} MiB")
        tops = set()
        for entry in entries:
            parts = PurePosixPath(entry.filename).parts
            if not parts or parts[0] == "/" or ".." in parts:
                raise ValueError(f"it names a path outside itself: {entry.filename!r}")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(f"it holds a link: {entry.filename!r}")
            tops.add(parts[0])
        if len(tops) != 1:
            raise ValueError("it does not have one folder at its top")
        archive.extractall(work)
    return work / tops.pop()


def install_pair(
    source: str, target: str, root: Path, *, index: str = INDEX, tell: Tell = _silent
) -> tuple[str, str]:
    """Install the newest package of a pair that an index lists (a JSON list of objects with
    `from_code`, `to_code`, `package_version`, `links`). Raises ModelUnavailable."""
    folder = root / "argos"
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".get-", dir=folder))
    unreachable: dict[str, str] = {}
    try:
        links = _links(_read_index(index, work, unreachable), source, target)
        if not links:
            raise ModelUnavailable(f"Argos's index at {index} has no package {source} to {target}.")
        failures = []
        file = work / "package.argosmodel"
        for link in links:
            try:
                download(
                    link,
                    file,
                    0,
                    limit=MAX_PACKAGE,
                    exact=False,
                    unreachable=unreachable,
                    tell=lambda done, link=link: tell(link, done, 0),  # type: ignore[misc]
                )
                pair = install_file(file, root)
            except (SourceError, ModelUnavailable) as error:
                failures.append(f"{link}: {error}")
                continue
            if pair != (source, target):
                raise ModelUnavailable(f"{link} holds {pair[0]} to {pair[1]}.")
            return pair
        raise ModelUnavailable(
            f"The Argos package {source} to {target} cannot be had. Tried {'; '.join(failures)}."
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_index(index: str, work: Path, unreachable: dict[str, str]) -> list[Any]:
    file = work / "index.json"
    try:
        download(index, file, 0, limit=MAX_INDEX, exact=False, unreachable=unreachable)
        entries = json.loads(file.read_text(encoding="utf-8"))
    except SourceError as error:
        raise ModelUnavailable(f"Argos's index at {index} {error}.") from None
    except ValueError as error:
        raise ModelUnavailable(f"Argos's index at {index} is not JSON: {error}.") from None
    if not isinstance(entries, list):
        raise ModelUnavailable(f"Argos's index at {index} is no list.")
    return entries


def _links(entries: list[Any], source: str, target: str) -> list[str]:
    """Where the newest package of a pair may be had, over http only."""
    newest: tuple[tuple[int, ...], list[str]] = ((), [])
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        if (entry.get("from_code"), entry.get("to_code")) != (source, target):
            continue
        links = [str(link) for link in entry.get("links", []) if str(link).startswith("http")]
        version = version_key(str(entry.get("package_version", "")))
        if links and version >= newest[0]:
            newest = (version, links)
    return newest[1]


def version_key(version: str) -> tuple[int, ...]:
    """A version's numbers, for comparing."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())
