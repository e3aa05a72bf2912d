"""The floors of the architecture hold: imports run one way, and pure modules stay pure."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
IO_MODULES = {
    "aiohttp",
    "aioice",
    "aiortc",
    "asyncio",
    "redis",
    "socket",
    "subprocess",
    "threading",
}

PURE = [
    "chatroom/errors.py",
    "chatroom/protocol.py",
    "chatroom/roles.py",
    "chatroom/room.py",
    "chatroom/room_state.py",
    "chatroom/ids.py",
    "chatroom/settings.py",
    "chatroom/keys.py",
    "chatroom/bus.py",
    "media/plane.py",
    "media/rtp.py",
    "media/rtcp.py",
    "media/opus.py",
    "media/levels.py",
    "media/slots.py",
    "media/packer.py",
    "media/forward.py",
    "translate/captions.py",
    "translate/segment.py",
]


def imported(path: pathlib.Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_import_no_io(module: str) -> None:
    assert not imported(ROOT / module) & IO_MODULES


def test_imports_run_one_way() -> None:
    """The import-linter contracts of pyproject.toml: signaling over media and translate, which
    do not know one another, over chatroom; media uses of chatroom messages and errors only."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as c; c()",
            "--no-cache",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
