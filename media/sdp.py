"""Offers of WHIP and WHEP clients in, answers out (RFC 9725, RFC 8829, RFC 8839). Pure.

What a client may offer: any number of sections, of which audio sections with Opus are answered,
up to a limit, and all others refused with port 0; one BUNDLE, RTP and RTCP on one port, DTLS.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from chatroom.errors import BadOffer, NoOpus
from media.plane import Address, IceCredentials
from media.sdp_lines import (
    Attributes,
    Media,
    fingerprint,
    ice_credentials,
    number,
    read_lines,
    read_sections,
    token,
)

AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
"""RFC 6464."""

Kind = Literal["publish", "listen"]

_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_PROTOCOLS = frozenset({"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"})
_OPUS = "opus/48000/2"
_HOST_PREFERENCE = 126
_DISCARD = 9


@dataclass(frozen=True, slots=True)
class OfferSection:
    """One media section of an offer."""

    index: int
    """Position in the offer, from 0; the answer keeps it."""
    mid: str | None
    kind: str
    protocol: str
    formats: tuple[str, ...]
    direction: str
    payload_type: int | None
    """The client's number for Opus; None where the section is refused."""
    audio_level_id: int | None = None
    """Its id for the RFC 6464 header extension, where offered."""
    nack: bool = False
    """Whether it can ask for lost packets."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an answer needs to know of an offer."""

    kind: Kind
    ice_ufrag: str
    ice_pwd: str
    ice_options: tuple[str, ...]
    fingerprints: tuple[tuple[str, str], ...]
    """Hash function in lower case and value in upper case, at least one."""
    setup: Literal["actpass", "active", "passive"]
    sections: tuple[OfferSection, ...]
    bundle: tuple[str, ...]
    """The mids of the BUNDLE group, empty without one."""

    @property
    def accepted(self) -> tuple[OfferSection, ...]:
        """The sections that can be answered with sound, in order; at least one."""
        return tuple(s for s in self.sections if s.payload_type is not None)

    @property
    def dtls_role(self) -> Literal["client", "server"]:
        """The server's own part in the DTLS handshake."""
        return "client" if self.setup == "passive" else "server"


@dataclass(frozen=True, slots=True)
class AnswerSection:
    """What goes into one accepted section; nothing for one that is only received."""

    ssrc: int | None = None
    cname: str = ""
    msid: str = ""
    """`<stream id> <track id>`."""


# -------------------------------------------------------------------------------------- in


def parse_offer(sdp: str, *, kind: Kind, max_sections: int) -> Offer:
    """Read an offer to publish or to listen. At most `max_sections` audio sections can be
    accepted, those after them are refused. Raises BadOffer or NoOpus with a sentence that says
    what is wrong, and nothing else."""
    lines = read_lines(sdp, "offer")
    if not lines or lines[0].strip() != "v=0":
        raise BadOffer("This is no session description: it does not begin with v=0.")
    session, media = read_sections(lines)
    if not any(section.kind == "audio" for section in media):
        raise BadOffer("The offer has no audio section.")
    if "ice-lite" in session:
        raise BadOffer("The client is an ICE-lite agent, as the server is: neither would check.")
    bundle = _bundle(session)
    sections, complaint = _sections(session, media, bundle, kind, max_sections)
    accepted = [section for section in sections if section.payload_type is not None]
    if not accepted:
        raise complaint or BadOffer("The offer has no audio section that is open.")
    if len(accepted) > 1 and not bundle:
        raise BadOffer("The sections are not in one BUNDLE group (a=group:BUNDLE).")
    chain = _chain(session, media, accepted[0], bundle)
    ufrag, password = ice_credentials(_inherited(chain, "ice-ufrag"), _inherited(chain, "ice-pwd"))
    return Offer(
        kind=kind,
        ice_ufrag=ufrag,
        ice_pwd=password,
        ice_options=tuple((_inherited(chain, "ice-options") or "").split()),
        fingerprints=_fingerprints(chain),
        setup=_setup(_inherited(chain, "setup")),
        sections=tuple(sections),
        bundle=bundle,
    )


def _bundle(session: Attributes) -> tuple[str, ...]:
    for group in session.all("group"):
        semantics, *mids = group.split()[:65] or [""]
        if semantics == "BUNDLE":
            return tuple(mid for mid in mids if token(mid))
    return ()


def _sections(
    session: Attributes, media: list[Media], bundle: tuple[str, ...], kind: Kind, most: int
) -> tuple[list[OfferSection], BadOffer | NoOpus | None]:
    """Every section, and why the first audio section that had to be refused was."""
    sections: list[OfferSection] = []
    complaint: BadOffer | NoOpus | None = None
    mids: set[str] = set()
    accepted = 0
    for index, section in enumerate(media):
        given = section.attributes.first("mid")
        mid = token(given)
        if given is not None and (mid is None or mid in mids):
            raise BadOffer(f"The mid of section {index} is not a token, or is used twice.")
        if mid is not None:
            mids.add(mid)
        direction = _direction(section.attributes) or _direction(session) or "sendrecv"
        payload_type = None
        if section.kind == "audio" and accepted < most:
            try:
                payload_type = _acceptable(section, mid, bundle, direction, kind)
                accepted += 1
            except (BadOffer, NoOpus) as error:
                complaint = complaint or error
        sections.append(
            OfferSection(
                index=index,
                mid=mid,
                kind=section.kind,
                protocol=section.protocol,
                formats=section.formats,
                direction=direction,
                payload_type=payload_type,
                audio_level_id=_audio_level(section.attributes),
                nack=payload_type is not None and _nack(section.attributes, payload_type),
            )
        )
    return sections, complaint


def _acceptable(
    section: Media, mid: str | None, bundle: tuple[str, ...], direction: str, kind: Kind
) -> int:
    """The payload type of Opus; BadOffer or NoOpus says why the section must be refused."""
    if section.port == 0 and "bundle-only" not in section.attributes:
        raise BadOffer("The audio section is closed (port 0).")
    if section.protocol not in _PROTOCOLS:
        raise BadOffer(f"The audio section is {section.protocol}, not UDP/TLS/RTP/SAVPF.")
    payload_type = _opus(section)
    if payload_type is None:
        raise NoOpus("The audio section does not offer Opus (opus/48000/2).")
    if kind == "publish" and direction not in ("sendonly", "sendrecv"):
        raise BadOffer(f"To publish, the audio must be sent: it is {direction}.")
    if kind == "listen" and direction not in ("recvonly", "sendrecv"):
        raise BadOffer(f"To listen, the audio must be received: it is {direction}.")
    if "rtcp-mux" not in section.attributes:
        raise BadOffer("RTP and RTCP must share a port (a=rtcp-mux).")
    if bundle and mid not in bundle:
        raise BadOffer("The audio section is not in the BUNDLE group.")
    return payload_type


def _direction(attributes: Attributes) -> str | None:
    return next((d for d in _DIRECTIONS if d in attributes), None)


def _opus(section: Media) -> int | None:
    """The first format that is Opus, in the order of the client's preference. 64 to 95 would
    be taken for RTCP (RFC 5761)."""
    maps = {}
    for line in section.attributes.all("rtpmap"):
        name, _, encoding = line.partition(" ")
        maps[name] = encoding.strip().lower()
    for name in section.formats:
        payload_type = number(name, 127)
        if payload_type is None or 64 <= payload_type <= 95:
            continue
        if maps.get(name) == _OPUS:
            return payload_type
    return None


def _audio_level(attributes: Attributes) -> int | None:
    for line in attributes.all("extmap"):
        words = line.split()
        if len(words) >= 2 and words[1] == AUDIO_LEVEL:
            found = number(words[0].partition("/")[0], 255)
            if found and found != 15:
                return found
    return None


def _nack(attributes: Attributes, payload_type: int) -> bool:
    wanted = ([str(payload_type), "nack"], ["*", "nack"])
    return any(line.split() in wanted for line in attributes.all("rtcp-fb"))


def _chain(
    session: Attributes, media: list[Media], section: OfferSection, bundle: tuple[str, ...]
) -> list[Attributes]:
    """Where a transport attribute is looked for: the section itself, the one that stands for
    the whole BUNDLE (RFC 9143), the session."""
    chain = [media[section.index].attributes]
    chain += [m.attributes for m in media if bundle and m.attributes.first("mid") == bundle[0]]
    return [*chain, session]


def _inherited(chain: list[Attributes], name: str) -> str | None:
    return next((a.first(name) for a in chain if name in a), None)


def _fingerprints(chain: list[Attributes]) -> tuple[tuple[str, str], ...]:
    lines = next((a.all("fingerprint") for a in chain if "fingerprint" in a), None)
    if lines is None:
        raise BadOffer("There is no DTLS fingerprint (a=fingerprint).")
    good = tuple(f for line in lines[:16] if (f := fingerprint(line)) is not None)
    if not good:
        raise BadOffer("No fingerprint is a well-formed sha-256, sha-384 or sha-512.")
    return good


def _setup(value: str | None) -> Literal["actpass", "active", "passive"]:
    if value == "actpass":
        return "actpass"
    if value == "active":
        return "active"
    if value == "passive":
        return "passive"
    raise BadOffer("a=setup must be actpass, active or passive.")


# ------------------------------------------------------------------------------------- out


def make_answer(
    offer: Offer,
    *,
    credentials: IceCredentials,
    fingerprints: Sequence[tuple[str, str]],
    candidates: Sequence[Address],
    sections: Mapping[int, AnswerSection],
    ptime_ms: int,
    maxptime_ms: int,
) -> str:
    """The answer of an ICE-lite server that sends to a listener or receives from a publisher.

    `candidates` are its host addresses, the default one first. `sections` maps the index of
    each section that is taken to what is sent in it; the others are refused. Raises ValueError
    where a section is to be taken that cannot be.
    """
    wrong = set(sections) - {section.index for section in offer.accepted}
    if wrong or not sections:
        raise ValueError(f"sections {sorted(wrong)} of the offer cannot be accepted")
    number_of = int.from_bytes(hashlib.sha256(credentials.local_ufrag.encode()).digest()[:7], "big")
    lines = ["v=0", f"o=- {number_of} 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=ice-lite"]
    mids = [s.mid for s in offer.sections if s.index in sections and s.mid]
    if offer.bundle:
        lines.append(f"a=group:BUNDLE {' '.join(mids)}")
    if offer.kind == "listen":
        lines.append("a=msid-semantic:WMS *")
    first = min(sections)
    default = candidates[0] if candidates else ("0.0.0.0", _DISCARD)
    for section in offer.sections:
        taken = sections.get(section.index)
        if taken is None:
            lines += _refused(section)
            continue
        lines += [
            f"m=audio {default[1]} {section.protocol} {section.payload_type}",
            f"c={_connection(default[0])}",
            *_transport(offer, credentials, fingerprints),
            *(_candidates(tuple(candidates)) if section.index == first else ()),
            *_sound(offer.kind, section, taken),
            f"a=ptime:{ptime_ms}",
            f"a=maxptime:{maxptime_ms}",
        ]
    return "\r\n".join(lines) + "\r\n"


def _refused(section: OfferSection) -> list[str]:
    mid = [f"a=mid:{section.mid}"] if section.mid else []
    line = f"m={section.kind} 0 {section.protocol} {section.formats[0]}"
    return [line, "c=IN IP4 0.0.0.0", *mid, "a=inactive"]


def _transport(
    offer: Offer, credentials: IceCredentials, fingerprints: Sequence[tuple[str, str]]
) -> list[str]:
    return [
        f"a=ice-ufrag:{credentials.local_ufrag}",
        f"a=ice-pwd:{credentials.local_password}",
        *(f"a=fingerprint:{algorithm} {value}" for algorithm, value in fingerprints),
        f"a=setup:{'active' if offer.dtls_role == 'client' else 'passive'}",
    ]


def _sound(kind: Kind, section: OfferSection, taken: AnswerSection) -> list[str]:
    opus = section.payload_type
    lines = [f"a=mid:{section.mid}"] if section.mid else []
    lines += [
        "a=sendonly" if kind == "listen" else "a=recvonly",
        "a=rtcp-mux",
        f"a=rtpmap:{opus} {_OPUS}",
        f"a=fmtp:{opus} minptime=10;useinbandfec=1",
    ]
    if kind == "publish" and section.audio_level_id is not None:
        lines.append(f"a=extmap:{section.audio_level_id} {AUDIO_LEVEL}")
    if kind == "listen" and section.nack:
        lines.append(f"a=rtcp-fb:{opus} nack")
    if taken.msid:
        lines.append(f"a=msid:{taken.msid}")
    if taken.ssrc is not None:
        lines.append(f"a=ssrc:{taken.ssrc} cname:{taken.cname}")
        if taken.msid:
            lines.append(f"a=ssrc:{taken.ssrc} msid:{taken.msid}")
    return lines


@functools.lru_cache(maxsize=64)
def _connection(host: str) -> str:
    return f"IN IP{ipaddress.ip_address(host).version} {host}"


@functools.lru_cache(maxsize=64)
def _candidates(addresses: tuple[Address, ...]) -> tuple[str, ...]:
    """Host candidates in the order given, but those that few can reach (loopback, link-local)
    after the others (RFC 8445, section 5.1.2)."""

    def narrow(address: Address) -> bool:
        ip = ipaddress.ip_address(address[0])
        return ip.is_loopback or ip.is_link_local

    lines = []
    for rank, (host, port) in enumerate(sorted(addresses, key=narrow)):
        priority = _HOST_PREFERENCE << 24 | (0xFFFF - rank) << 8 | 0xFF
        lines.append(f"a=candidate:{rank + 1} 1 udp {priority} {host} {port} typ host")
    return (*lines, "a=end-of-candidates")


# ------------------------------------------------------------------------------- fragments


@dataclass(frozen=True, slots=True)
class Fragment:
    """A client's ICE restart (RFC 8840, RFC 9725 section 4.3.2)."""

    ufrag: str
    password: str
    mid: str | None


def parse_fragment(text: str) -> Fragment:
    """Read the new credentials. Raises BadOffer where there are none."""
    session, media = read_sections(read_lines(text, "fragment"))
    chain = [*(m.attributes for m in media), session]
    ufrag, password = ice_credentials(_inherited(chain, "ice-ufrag"), _inherited(chain, "ice-pwd"))
    mid = next((found for m in media if (found := token(m.attributes.first("mid")))), None)
    return Fragment(ufrag, password, mid)


def make_fragment(
    fragment: Fragment, *, credentials: IceCredentials, candidates: Sequence[Address]
) -> str:
    """The server's side of the restart, in the same form."""
    mid = [f"a=mid:{fragment.mid}"] if fragment.mid else []
    lines = [
        "a=ice-lite",
        *([f"a=group:BUNDLE {fragment.mid}"] if fragment.mid else []),
        f"m=audio {_DISCARD} UDP/TLS/RTP/SAVPF 0",
        *mid,
        f"a=ice-ufrag:{credentials.local_ufrag}",
        f"a=ice-pwd:{credentials.local_password}",
        *_candidates(tuple(candidates)),
    ]
    return "\r\n".join(lines) + "\r\n"
