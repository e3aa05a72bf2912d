"""Trickle ICE SDP fragments (RFC 8840) as far as WHIP needs them, and WHIP's headers. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chatroom.errors import BadOffer

MAX_FRAGMENT = 16 * 1024

_UFRAG = re.compile(r"^a=ice-ufrag:([A-Za-z0-9+/]{4,256})\s*$", re.MULTILINE)
_PWD = re.compile(r"^a=ice-pwd:([A-Za-z0-9+/]{22,256})\s*$", re.MULTILINE)
_LINE = re.compile(r"^[a-z]=\S")


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a fragment says: the client's credentials, if it has them, and how many candidates."""

    ufrag: str | None
    password: str | None
    candidates: int


def parse_fragment(text: str) -> Fragment:
    """Raises BadOffer for what is no fragment."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or not all(_LINE.match(line) for line in lines):
        raise BadOffer("This is no SDP fragment: every line is <letter>=<value> (RFC 8840).")
    ufrag, password = _UFRAG.search(text), _PWD.search(text)
    if any(line.startswith("a=ice-ufrag:") for line in lines) and ufrag is None:
        raise BadOffer("a=ice-ufrag has 4 to 256 characters of A-Z a-z 0-9 + / (RFC 8839).")
    return Fragment(
        ufrag=ufrag.group(1) if ufrag else None,
        password=password.group(1) if password else None,
        candidates=sum(line.startswith("a=candidate:") for line in lines),
    )


def ufrag_of(offer: str) -> str | None:
    """The first ICE user name fragment of an offer."""
    found = _UFRAG.search(offer)
    return found.group(1) if found else None


def quoted(etag: str) -> str:
    """An entity tag as it stands in a header."""
    return etag if etag.startswith('"') else f'"{etag}"'


def matches(if_match: str, etag: str) -> bool:
    """Whether an If-Match header names the tag: `*`, also in the quotes that RFC 9725 shows, or
    a list that holds it (RFC 9110, section 13.1.1)."""
    tags = [tag.strip() for tag in if_match.split(",")]
    return any(tag in ("*", '"*"') or tag == quoted(etag) for tag in tags)


def ice_links(servers: Sequence[str]) -> list[str]:
    """Link headers for configured STUN and TURN servers (RFC 9725, section 4.6). Each server is
    a URL, for TURN with user name and credential after it. Raises ValueError naming the wrong
    one."""
    links = []
    for server in servers:
        parts = server.split()
        scheme = parts[0].partition(":")[0] if parts else ""
        if scheme in ("stun", "stuns") and len(parts) == 1:
            links.append(f'<{_url(parts[0])}>; rel="ice-server"')
        elif scheme in ("turn", "turns") and len(parts) == 3:
            url, user, credential = _url(parts[0]), _text(parts[1]), _text(parts[2])
            links.append(
                f'<{url}>; rel="ice-server"; username="{user}"; '
                f'credential="{credential}"; credential-type="password"'
            )
        else:
            raise ValueError(
                f"an ICE server is 'stun:HOST[:PORT]' or 'turn:HOST[:PORT] USER CREDENTIAL', "
                f"not one that begins with {parts[0] if parts else ''!r}"
            )
    return links


def _url(text: str) -> str:
    if any(c in text for c in '<>"'):
        raise ValueError("an ICE server's URL has none of < > \"")
    return text


def _text(text: str) -> str:
    """The inside of a quoted string (RFC 9110, section 5.6.4)."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
