"""The translation worker as a child of the server.

The child ends when the server does, however that ends: it holds the reading end of a pipe whose
other end only the server has, and leaves when the pipe closes. A child that ends by itself is
started again, after a pause that grows while it keeps ending early.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)

BACKOFF_S = (1.0, 60.0)
"""First and longest pause before the worker is started again."""

STEADY_S = 60.0
"""A worker that ran for so long begins with the first pause again."""

STOP_TIMEOUT_S = 10.0
NICE = 10
"""What the worker gives way by: a recogniser takes every core it can get, and captions can be late
where sound cannot. At 10 a thread of the server's gets nine times its share."""
LEAVE_S = 5.0
"""How long an orphan may take to leave by itself."""


class WorkerProcess:
    """Runs `chatroom worker` until `stop`."""

    def __init__(
        self,
        config: Path | None,
        environ: Mapping[str, str],
        *,
        command: tuple[str, ...] = (sys.executable, "-m", "signaling"),
        backoff_s: tuple[float, float] = BACKOFF_S,
    ) -> None:
        """`environ` is added to the process's own, for the address of an embedded Redis."""
        arguments = ["worker", "--child"]
        if config is not None:
            arguments += ["--config", str(config)]
        self._command = [*command, *arguments]
        self._environ = {**os.environ, **environ}
        self._backoff_s = backoff_s
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.restarts = 0

    @property
    def pid(self) -> int | None:
        """The child's process id while it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def start(self) -> None:
        self._task = asyncio.create_task(self._supervise(), name="worker process")

    async def stop(self) -> None:
        """Ask the child to end; kill it when it does not within 10 s."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _supervise(self) -> None:
        pause = self._backoff_s[0]
        while True:
            began = time.monotonic()
            try:
                how = _how(await self._run_once())
            except OSError as error:  # no memory or no descriptors for a process just now
                how = f"it could not be started: {error}"
            if time.monotonic() - began >= STEADY_S:
                pause = self._backoff_s[0]
            log.warning(
                "The translation worker ended (%s); it is started again in %g s.",
                how,
                pause,
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._backoff_s[1])
            self.restarts += 1

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            env=self._environ,
            # Ctrl-C in a terminal goes to the server, which ends its child in order.
            start_new_session=True,
        )
        self._process = process
        try:
            return await process.wait()
        finally:
            if process.returncode is None:
                await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        log.warning("The translation worker did not end in %g s and is killed.", STOP_TIMEOUT_S)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def leave_with_parent() -> None:
    """In the child: end when the server is gone, seen by the closing of standard input. A thread
    of its own, since the event loop may be busy; what does not end in 5 s is ended hard."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 64):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LEAVE_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def give_way() -> None:
    """In the child: run only on what the server leaves. To be called before threads are made."""
    os.nice(NICE)
    # The child leads a session, and with autogroups Linux weighs sessions, not their processes.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICE), encoding="ascii")


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
