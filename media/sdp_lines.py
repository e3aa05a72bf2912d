"""SDP as lines and attributes (RFC 8866), read without trusting a byte of it. Pure.

aiortc's reader is not used for offers: it refuses whole offers for lines that do not concern us
(a parameter of a video codec, an unknown candidate type), and does so by assertions, index
errors and the like. Answers are checked against it in the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from chatroom.errors import BadOffer

MAX_BYTES = 64 * 1024
MAX_SECTIONS = 32
"""Media sections of any kind in one description."""

_LINE_END = re.compile(r"\r\n|\n|\r")
_LINE = re.compile(r"[a-z]=")
_MEDIA = re.compile(
    r"m=([A-Za-z0-9.+-]{1,32}) ([0-9]{1,5})(?:/[0-9]{1,5})? ([A-Za-z0-9/]{1,32})"
    r"((?: [A-Za-z0-9.+*-]{1,32}){1,128}) *"
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,64}")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_HASH_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}


@dataclass(slots=True)
class Attributes:
    """The `a=` lines of one section, or of the session: name to values, in order."""

    values: dict[str, list[str]] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Take one line, with its `a=`."""
        name, _, value = line[2:].partition(":")
        self.values.setdefault(name.strip(), []).append(value.strip())

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def first(self, name: str) -> str | None:
        """The value of the first line with the name; empty for a property attribute."""
        return self.values.get(name, [None])[0]

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])


@dataclass(slots=True)
class Media:
    """One `m=` line and its attributes. Kind, protocol and formats are plain ASCII tokens."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    attributes: Attributes = field(default_factory=Attributes)


def read_lines(text: str, what: str) -> list[str]:
    """The lines of a description; BadOffer where it is none. `what` names it in the error."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise BadOffer(f"The {what} is over {MAX_BYTES // 1024} KiB.")
    lines = [line for line in _LINE_END.split(text) if line.strip()]
    for number, line in enumerate(lines, 1):
        if not _LINE.match(line):
            raise BadOffer(f"Line {number} of the {what} is not of the form <letter>=<value>.")
    return lines


def read_sections(lines: list[str]) -> tuple[Attributes, list[Media]]:
    """The session's attributes and the media sections, in order."""
    session = Attributes()
    sections: list[Media] = []
    for line in lines:
        if line.startswith("m="):
            match = _MEDIA.fullmatch(line)
            if match is None:
                raise BadOffer(f"Media line {len(sections) + 1} cannot be read.")
            if len(sections) == MAX_SECTIONS:
                raise BadOffer(f"There are more than {MAX_SECTIONS} media sections.")
            kind, port, protocol, formats = match.groups()
            sections.append(Media(kind, int(port), protocol, tuple(formats.split())))
        elif line.startswith("a="):
            (sections[-1].attributes if sections else session).add(line)
    return session, sections


def token(value: str | None) -> str | None:
    """The value where it is an SDP token of sane length, else None."""
    return value if value is not None and _TOKEN.fullmatch(value) else None


def number(text: str, most: int) -> int | None:
    """A decimal number from 0 to `most`, else None."""
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= most else None


def ice_credentials(ufrag: str | None, password: str | None) -> tuple[str, str]:
    """Check what RFC 8839 says of them; BadOffer says which is missing or wrong."""
    if ufrag is None or password is None:
        raise BadOffer("There are no ICE credentials (a=ice-ufrag and a=ice-pwd).")
    if not _UFRAG.fullmatch(ufrag):
        raise BadOffer("a=ice-ufrag is not 4 to 256 letters, digits, + or /.")
    if not _PASSWORD.fullmatch(password):
        raise BadOffer("a=ice-pwd is not 22 to 256 letters, digits, + or /.")
    return ufrag, password


def fingerprint(value: str) -> tuple[str, str] | None:
    """`(hash function, hex value)` of a fingerprint that can be checked, else None."""
    algorithm, _, digest = value.partition(" ")
    algorithm, digest = algorithm.lower(), digest.strip().upper()
    size = _HASH_BYTES.get(algorithm)
    if size is None or not re.fullmatch(r"[0-9A-F]{2}(:[0-9A-F]{2})*", digest):
        return None
    return (algorithm, digest) if len(digest) == size * 3 - 1 else None
