"""The program as an operator runs it: `chatroom serve` in a process of its own."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from signaling.__main__ import main
from signaling.config_docs import default_file
from tests.signaling.client import Client
from tests.signaling.test_worker_process import gone

ROOT = Path(__file__).parents[2]


class Running:
    """A server on free ports with its data in `folder`; no models, nothing fetched."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder = folder
        settings = {
            "CHATROOM_REDIS_DATA": str(folder / "redis"),
            "CHATROOM_MEDIA_PORT": "0",
            "CHATROOM_MEDIA_HOST": "127.0.0.1",
            "CHATROOM_CAPTIONS_MODELS": str(folder / "models"),
            "CHATROOM_CAPTIONS_FETCH": "false",
            **environ,
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith("CHATROOM_")}
        self.log = folder / "log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "signaling", "serve", "--port", "0"],
                cwd=folder,
                env={**kept, "PYTHONPATH": str(ROOT), **settings},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.line)
        assert found, (self.line, self.log.read_text())
        self.url = found.group()

    def descendants(self) -> dict[int, str]:
        """Process id to command line, of everything that the server started."""
        parents: dict[int, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents[int(entry.name)] = int(fields[1])
        found: set[int] = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        lines = {}
        for pid in found - {self.process.pid}:
            with contextlib.suppress(OSError):
                raw = Path(f"/proc/{pid}/cmdline").read_bytes()
                lines[pid] = raw.replace(b"\0", b" ").decode()
        return lines


async def until_gone(pids: list[int], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not all(gone(pid) for pid in pids):
            await asyncio.sleep(0.05)


async def test_rooms_survive_a_stop_and_a_kill(tmp_path: Path) -> None:
    server = Running(tmp_path)
    assert server.line == f"chatroom is open at {server.url}\n"
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(session, server.url)
            host = await client.create(title="Kept")
            watcher = await host.socket()
            async with asyncio.timeout(20):
                while not any(" worker " in line for line in server.descendants().values()):
                    await asyncio.sleep(0.1)
            children = server.descendants()
            assert any("valkey" in line for line in children.values()), children

            server.process.send_signal(signal.SIGTERM)
            assert await watcher.closed(20) == 1001
            assert await asyncio.to_thread(server.process.wait, 20) == 0
            await until_gone(list(children))
        log = server.log.read_text()
        assert "Traceback" not in log, log
        assert host.token not in log

        server = Running(tmp_path, CHATROOM_SERVER_WORKER="true")
        async with aiohttp.ClientSession() as session:
            client = Client(session, server.url)
            # The same room, and the same key: the token is still good.
            host.client = client
            watcher = await host.socket(cursor="0-0")
            assert watcher.welcome["room"]["title"] == "Kept"
            await client.join(host.room)
            async with asyncio.timeout(20):
                while not any(" worker " in line for line in server.descendants().values()):
                    await asyncio.sleep(0.1)
            children = server.descendants()
            server.process.kill()
            await asyncio.to_thread(server.process.wait, 20)
            await until_gone(list(children))

        server = Running(tmp_path, CHATROOM_SERVER_WORKER="false")
        async with aiohttp.ClientSession() as session:
            looked = await session.get(f"{server.url}/api/rooms/{host.room}")
            assert (await looked.json())["title"] == "Kept"
        server.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(server.process.wait, 20) == 0
    finally:
        server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


def test_config_prints_the_default_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    assert capsys.readouterr().out == default_file()


def test_a_mistake_ends_with_its_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text("[server]\nprot = 1\n")
    assert main(["serve"]) == 2
    assert "unknown key server.prot" in capsys.readouterr().err
    (tmp_path / "config.toml").write_text('[server]\nice_servers = ["x"]\n')
    assert main(["serve"]) == 2
    assert "server.ice_servers" in capsys.readouterr().err
    (tmp_path / "config.toml").write_text("")
    assert main(["worker"]) == 2
    assert "redis.url is empty" in capsys.readouterr().err
    assert main(["serve", "--port", "70000"]) == 2
    assert main(["serve", "--config", "none.toml"]) == 2


@pytest.mark.parametrize(
    ("settings", "words", "status"),
    [
        ({"REDIS_URL": "http://x"}, "redis.url", 2),
        ({"REDIS_URL": "redis://me:hush@127.0.0.1:1/0"}, "Redis at 127.0.0.1:1/0 (redis.url)", 1),
        ({"SERVER_PUBLIC_URL": "rooms.example.org"}, "server.public_url: 'rooms.example.org'", 2),
        ({"SERVER_ALLOWED_ORIGINS": "http://["}, "server.allowed_origins", 2),
        ({"MEDIA_HOST": "localhost"}, "media.host: 'localhost'", 2),
        ({"MEDIA_ADVERTISE": "rooms.example.org"}, "media.advertise", 2),
        ({"MEDIA_PORT": "{taken}"}, "media.port {taken} (UDP): Address already in use", 1),
        ({"SERVER_PORT": "{taken}"}, "server.port {taken} (TCP): ", 1),
        ({"SERVER_HOST": "256.0.0.1"}, "server.host '256.0.0.1'", 1),
    ],
)
def test_what_cannot_be_used_is_named(
    settings: dict[str, str],
    words: str,
    status: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        taken = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", taken))
        defaults = {"SERVER_PORT": "0", "MEDIA_PORT": "0", "MEDIA_HOST": "127.0.0.1"}
        for key, value in {**defaults, **settings}.items():
            monkeypatch.setenv(f"CHATROOM_{key}", value.format(taken=taken))
        assert main(["serve"]) == status
    said = capsys.readouterr().err
    assert words.format(taken=taken) in said
    assert "hush" not in said


def test_models_are_the_captions_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["models", "--root", str(tmp_path / "models"), "list"]) == 0
    assert "whisper" in capsys.readouterr().out
    assert main(["models", "remove", "no-such-model"]) == 2
