"""The page's modules under Node, and what the pages owe the protocol."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from chatroom import protocol

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "signaling" / "web"


def test_the_modules() -> None:
    files = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    done = subprocess.run(["node", "--test", *files], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_more_can_be_typed_than_the_server_takes() -> None:
    limits = {
        ("index.html", "title"): protocol.MAX_TITLE,
        ("index.html", "host-name"): protocol.MAX_NAME,
        ("index.html", "rules"): protocol.MAX_RULES,
        ("room.html", "join-name"): protocol.MAX_NAME,
        ("room.html", "confirm-reason"): protocol.MAX_REASON,
    }
    for (page, element), limit in limits.items():
        tag = re.search(rf'<[^>]* id="{element}"[^>]*>', (WEB / page).read_text())
        assert tag, element
        assert f'maxlength="{limit}"' in tag.group(0)


def test_no_page_carries_script_or_style_of_its_own() -> None:
    """The content security policy is `default-src 'self'`."""
    for page in WEB.glob("*.html"):
        html = page.read_text()
        assert "<style" not in html
        assert not re.search(r"\sstyle=|\son[a-z]+=", html)
        assert not re.search(r"<script(?![^>]* src=)", html)
        assert not re.search(r"(src|href)=\"(https?:)?//", html)
