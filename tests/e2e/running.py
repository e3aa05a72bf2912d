"""The real program as a subprocess, and a second network that browsers can be put into."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODELS = Path(os.environ.get("CHATROOM_TEST_MODELS", ROOT / ".cache" / "models"))
_OPEN = re.compile(r"chatroom is open at (http://\S+?):(\d+)")


class Program:
    """`chatroom serve` on every address of this machine, on free ports, with its own data."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.log = data / "server.log"
        data.mkdir(parents=True, exist_ok=True)
        settings = {
            "CHATROOM_REDIS_DATA": str(data / "redis"),
            "CHATROOM_CAPTIONS_MODELS": str(MODELS),
            "CHATROOM_CAPTIONS_FETCH": "false",
            "CHATROOM_MEDIA_PORT": "0",
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CHATROOM_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "signaling", "serve", "--host", "0.0.0.0", "--port", "0"],
            cwd=ROOT,
            env={**kept, **settings, **environment},
            stdout=self.log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        self.port = self._wait_open()

    def _wait_open(self) -> int:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = _OPEN.search(self.log.read_text())
            if found:
                return int(found.group(2))
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"the server did not open:\n{self.log.read_text()}")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as reply:
            return json.load(reply)

    def post(self, path: str, body: object, token: str = "") -> Any:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def create_room(self, title: str = "A room", languages: tuple[str, ...] = ("en",)) -> Any:
        """The answer of `POST /api/rooms`."""
        body = {"title": title, "languages": list(languages), "host_name": "Hana"}
        return self.post("/api/rooms", body)

    def wait_captions(self, timeout_s: float = 60) -> None:
        """Until the worker has loaded its models."""
        deadline = time.monotonic() + timeout_s
        status: dict[str, Any] = {}
        while time.monotonic() < deadline:
            status = self.get("/api/languages")["captions_status"]
            if status["state"] == "ready":
                return
            time.sleep(0.2)
        raise RuntimeError(f"no captions: {status}\n{self.log.read_text()}")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise


# ------------------------------------------------------------------------------ network


@dataclass(frozen=True)
class Network:
    """A network namespace joined to this machine by a pair of virtual interfaces."""

    name: str
    host: str
    """This machine's address as seen from inside."""
    inner_link: str

    def command(self, *command: str) -> list[str]:
        """A command line that runs inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def wrapper(self, folder: Path, program: str) -> Path:
        """A script that starts a program inside."""
        script = folder / f"{Path(program).name}-{self.name}"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} {program} "$@"\n')
        script.chmod(0o755)
        return script

    def link(self, up: bool) -> None:
        """Plug or pull the cable, inside."""
        _ip("-n", self.name, "link", "set", self.inner_link, "up" if up else "down")
        if up:
            # The kernel drops the routes of a link that goes down.
            _ip("-n", self.name, "route", "replace", "default", "via", self.host)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise RuntimeError(
            f"ip {' '.join(arguments)}: {done.stderr.strip()}. The browser tests make a network "
            "namespace of their own and need root for it."
        )


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A namespace of its own for the time of a test run; nothing of it is left behind."""
    number = os.getpid() % 16_000
    name = f"chatroom-{os.getpid()}"
    outer, inner = f"cr{number}o", f"cr{number}i"
    # A /30 of the range for benchmarks (RFC 2544), which no real network has.
    base = number * 4
    third, fourth = base // 256, base % 256
    host, guest = f"198.18.{third}.{fourth + 1}", f"198.18.{third}.{fourth + 2}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name)
        _ip("address", "add", f"{host}/30", "dev", outer)
        _ip("link", "set", outer, "up")
        _ip("-n", name, "address", "add", f"{guest}/30", "dev", inner)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", inner, "up")
        _ip("-n", name, "route", "add", "default", "via", host)
        yield Network(name, host, inner)
    finally:
        # Deleting one end deletes the pair.
        subprocess.run(["ip", "link", "delete", outer], capture_output=True, timeout=20)
        _ip("netns", "delete", name)
