"""What the benchmarks share: a server of their own, tables, plots."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "img"


@contextlib.contextmanager
def server(**settings: object) -> Iterator[tuple[str, int]]:
    """A `chatroom serve` of its own on a free port, with a temporary data directory; yields its
    URL and process id. Keyword arguments are settings, as `media_plane="native"`."""
    with tempfile.TemporaryDirectory(prefix="chatroom-bench-") as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CHATROOM_")}
        defaults = {"redis_data": folder, "media_port": 0, "media_advertise": "127.0.0.1"}
        for key, value in {**defaults, **settings}.items():
            environment[f"CHATROOM_{key.upper()}"] = str(value)
        command = [sys.executable, "-m", "signaling", "serve", "--host", "127.0.0.1", "--port", "0"]
        with open(pathlib.Path(folder, "log"), "w+") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
            try:
                yield _url(process, log.name), process.pid
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _url(process: subprocess.Popen[str], log: str, timeout_s: float = 30.0) -> str:
    """The address in the line that the server prints when it is ready."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline and process.poll() is None:
            if selector.select(0.2):
                found = re.search(r"https?://[\w.\[\]:]+", process.stdout.readline())
                if found:
                    return found.group()
    raise RuntimeError(f"the server did not start:\n{pathlib.Path(log).read_text()[-4000:]}")


def swarm(url: str, **options: object) -> dict[str, Any]:
    """The report of one `chatroom swarm`, a process of its own."""
    command = [sys.executable, "-m", "signaling", "swarm", "--url", url, "--json"]
    for key, value in options.items():
        command += [f"--{key.replace('_', '-')}", str(value)]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    report: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return report


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as text in columns."""
    if not rows:
        return ""
    keys = list(rows[0])
    cells = [keys] + [[_cell(row.get(key)) for key in keys] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(keys))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "–" if value is None else str(value)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
    }
