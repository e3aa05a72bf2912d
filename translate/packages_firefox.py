"""Installing Firefox's translation models by pair, from the list that Firefox itself reads.

The list is Mozilla's Remote Settings; every file is a zstd attachment whose SHA-256, once
unpacked, the list tells. Mozilla asks whoever serves many users to host the files themselves:
`captions.mirror` is for that.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatroom.errors import ModelUnavailable
from translate import language
from translate.packages_argos import MAX_INDEX, Tell, _silent
from translate.sources import SourceError, download

RECORDS = (
    "https://firefox.settings.services.mozilla.com"
    "/v1/buckets/main/collections/translations-models-v2/records"
)
ATTACHMENTS = "https://firefox-settings-attachments.cdn.mozilla.net/"

_ARCHITECTURES = ("base", "base-memory", "tiny")
_FILE_NAME = re.compile(r"^[A-Za-z0-9._-]{1,100}$")


@dataclass(frozen=True, slots=True)
class Attachment:
    """One file of a model: `kind` is model, vocab, srcvocab, trgvocab or lex; `size` is that of
    the packed file in bytes, `sha256` that of the unpacked one."""

    name: str
    kind: str
    location: str
    size: int
    sha256: str


def choose(records: Any, source: str, target: str) -> list[Attachment]:
    """The files of the best model of a pair: released before pre-released, then the newest,
    then the larger architecture. Empty where the list has none."""
    sets: dict[tuple[Any, ...], list[Attachment]] = defaultdict(list)
    for record in records if isinstance(records, list) else ():
        found = _attachment(record, source, target)
        if found is not None:
            sets[_rank(record)].append(found)
    for rank in sorted(sets, reverse=True):
        kinds = {file.kind for file in sets[rank]}
        if "model" in kinds and ("vocab" in kinds or {"srcvocab", "trgvocab"} <= kinds):
            return sets[rank]
    return []


def _attachment(record: Any, source: str, target: str) -> Attachment | None:
    try:
        if not _is(record["sourceLanguage"], source) or not _is(record["targetLanguage"], target):
            return None
        place = record["attachment"]
        found = Attachment(
            name=str(record["name"]),
            kind=str(record["fileType"]),
            location=str(place["location"]),
            size=int(place["size"]),
            sha256=str(record["decompressedHash"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
    return found if _FILE_NAME.match(found.name) and not found.name.startswith(".") else None


def _is(tag: Any, wanted: str) -> bool:
    return language.base(str(tag)) == wanted and not language.is_traditional(str(tag))


def _rank(record: dict[str, Any]) -> tuple[Any, ...]:
    version = str(record.get("version", ""))
    architecture = record.get("architecture")
    order = len(_ARCHITECTURES)
    if architecture in _ARCHITECTURES:
        order = _ARCHITECTURES.index(architecture)
    numbers = tuple(int(number) for number in re.findall(r"\d+", version.split("a")[0]))
    # Nightly builds filter for themselves; they rank behind what everybody gets.
    released = not re.search("[a-z]", version) and not record.get("filter_expression")
    return (released, numbers, -order, str(architecture))


def install_pair(
    source: str,
    target: str,
    root: Path,
    *,
    records: str = RECORDS,
    attachments: str = ATTACHMENTS,
    tell: Tell = _silent,
) -> tuple[str, str]:
    """Install the best model of a pair into `<root>/firefox/<source>-<target>`. Raises
    ModelUnavailable."""
    folder = root / "firefox"
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".get-", dir=folder))
    unreachable: dict[str, str] = {}
    try:
        files = choose(_read_records(records, work, unreachable), source, target)
        if not files:
            raise ModelUnavailable(f"Firefox has no model {source} to {target}.")
        total = sum(file.size for file in files)
        place = work / "model"
        place.mkdir()
        done = 0
        for file in files:
            packed = work / "packed"
            try:
                download(
                    attachments.rstrip("/") + "/" + file.location.lstrip("/"),
                    packed,
                    0,
                    limit=file.size,
                    unreachable=unreachable,
                    tell=lambda now, done=done, name=file.name: tell(name, done + now, total),  # type: ignore[misc]
                )
            except SourceError as error:
                raise ModelUnavailable(f"{file.name} of Firefox's model {error}.") from None
            _unpack(packed, place / file.name, file.sha256)
            done += file.size
        final = folder / f"{source}-{target}"
        shutil.rmtree(final, ignore_errors=True)
        place.rename(final)
        return source, target
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read_records(url: str, work: Path, unreachable: dict[str, str]) -> Any:
    file = work / "records.json"
    try:
        download(url, file, 0, limit=MAX_INDEX, exact=False, unreachable=unreachable)
        return json.loads(file.read_text(encoding="utf-8")).get("data")
    except SourceError as error:
        raise ModelUnavailable(f"Firefox's list of models at {url} {error}.") from None
    except (ValueError, AttributeError) as error:
        raise ModelUnavailable(f"Firefox's list of models at {url} is broken: {error}.") from None


def _unpack(packed: Path, target: Path, sha256: str) -> None:
    from fxtranslate import discovery

    try:
        target.write_bytes(discovery.verify_and_decompress(packed.read_bytes(), sha256))
    except ValueError as error:
        raise ModelUnavailable(f"{target.name} of Firefox's model is broken: {error}.") from None
