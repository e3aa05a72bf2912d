"""The process between us and the embedded Redis server; a script of its own, standard library only.

It runs the server as its child and ends it, cleanly, when its standard input closes: that is when
we ask for it, and when we die of whatever, SIGKILL included. (PR_SET_PDEATHSIG on the server alone
would follow the *thread* that started it, and would leave nobody to wait for the flush.) Should
this process itself be killed, that signal ends the server. It lives in a session of its own, so
Ctrl-C on a terminal reaches the server only through us, after everything else is closed. A server
that crashes is started again, unless it does so at once.

Usage: redis_reaper.py LOCK REMOVE COMMAND...
LOCK is the descriptor of the data directory's lock, which the server inherits too, so that it is
held for as long as either lives; REMOVE a directory to delete in the end, or "".
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time

PATIENCE_S = 30.0
"""What the server gets for writing down what it has before it is killed."""

SHORT_LIFE_S = 2.0
_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _start(lock: int, command: list[str]) -> subprocess.Popen[bytes]:
    # This process has one thread, so preexec_fn is safe here.
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, pass_fds=(lock,), preexec_fn=_die_with_parent
    )


def _stop(server: subprocess.Popen[bytes]) -> int:
    server.terminate()
    try:
        return server.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        return server.wait()


def main(lock: int, remove: str, command: list[str]) -> int:
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parent = os.getppid()
    server, started = _start(lock, command), time.monotonic()
    try:
        while True:
            # The second sign of our parent's death, should somebody else hold the pipe open.
            readable, _, _ = select.select([0, wake], [], [], 1.0)
            if wake in readable:
                os.read(wake, 4096)
            closed = 0 in readable and os.read(0, 4096) == b""
            if closed or stopping or os.getppid() != parent:
                return _stop(server)
            code = server.poll()
            if code is None:
                continue
            if code == 0 or time.monotonic() - started < SHORT_LIFE_S:
                return code
            print(f"reaper: the server died ({code}); starting it again", flush=True)
            server, started = _start(lock, command), time.monotonic()
    finally:
        if remove:
            shutil.rmtree(remove, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(abs(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])))
