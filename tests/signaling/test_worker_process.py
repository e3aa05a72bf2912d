"""The worker's process: started again when it ends, gone when the server is."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from signaling.worker_process import NICE, WorkerProcess


def script(folder: Path, body: str) -> tuple[str, ...]:
    """A program in the worker's place; it gets the worker's arguments."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(body))
    return (sys.executable, str(path))


async def until(what: object, timeout_s: float = 15.0) -> None:
    assert callable(what)
    async with asyncio.timeout(timeout_s):
        while not what():
            await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody waits for yet counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


async def test_it_is_started_again_with_pauses(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = script(tmp_path, f"open({str(log)!r}, 'a').write('x')\nraise SystemExit(3)")
    worker = WorkerProcess(None, {}, command=command, backoff_s=(0.01, 0.04))
    worker.start()
    await until(lambda: log.exists() and len(log.read_text()) >= 3)
    await worker.stop()
    assert worker.restarts >= 2
    assert worker.pid is None


async def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = tmp_path / "worker"
    worker = WorkerProcess(None, {}, command=(str(program),), backoff_s=(0.01, 0.04))
    worker.start()
    await until(lambda: worker.restarts >= 2)
    program.write_text(f"#!/bin/sh\necho x >> {log}\n")
    program.chmod(0o700)
    await until(log.exists)
    await worker.stop()


async def test_arguments_and_environment(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = script(
        tmp_path,
        f"""
        import os, sys, time
        with open({str(log)!r}, "w") as out:
            out.write(" ".join(sys.argv[1:]) + os.environ["CHATROOM_REDIS_URL"] + "\\n")
        time.sleep(60)
        """,
    )
    worker = WorkerProcess(Path("c.toml"), {"CHATROOM_REDIS_URL": " unix:///x"}, command=command)
    worker.start()
    await until(lambda: log.exists() and log.read_text().endswith("\n"))
    assert log.read_text() == "worker --child --config c.toml unix:///x\n"
    pid = worker.pid
    assert pid is not None
    began = time.monotonic()
    await worker.stop()
    assert time.monotonic() - began < 5
    assert gone(pid)


async def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """A parent that starts a worker and is then killed without a word."""
    log = tmp_path / "pid"
    child = script(
        tmp_path,
        f"""
        import os, time
        from signaling.worker_process import leave_with_parent
        leave_with_parent()
        with open({str(log)!r}, "w") as out:
            out.write(f"{{os.getpid()}}\\n")
        while True:
            sum(range(100_000))
        """,
    )
    parent = tmp_path / "parent.py"
    parent.write_text(
        textwrap.dedent(
            f"""
            import asyncio
            from signaling.worker_process import WorkerProcess
            async def main():
                WorkerProcess(None, {{}}, command={child!r}).start()
                await asyncio.sleep(60)
            asyncio.run(main())
            """
        )
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, str(parent)], env=environ)
    try:
        await until(lambda: log.exists() and log.read_text().endswith("\n"))
        pid = int(log.read_text())
        assert not gone(pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    await until(lambda: gone(pid))


async def test_it_gives_way_to_the_server(tmp_path: Path) -> None:
    log = tmp_path / "nice"
    command = script(
        tmp_path,
        f"""
        import os, threading, time
        from signaling.worker_process import give_way
        give_way()
        thread = threading.Thread(
            target=lambda: open({str(log)!r}, "w").write(f"{{os.nice(0)}}\\n")
        )
        thread.start()
        time.sleep(60)
        """,
    )
    environ = {"PYTHONPATH": str(Path(__file__).parents[2])}
    worker = WorkerProcess(None, environ, command=command)
    worker.start()
    await until(lambda: log.exists() and log.read_text().endswith("\n"))
    assert int(log.read_text()) == min(19, os.nice(0) + NICE)
    await worker.stop()
