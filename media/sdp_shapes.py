"""Offers of a shape that was seen before, read at a tenth of the cost. Pure.

Players of one kind send the same offer but for their ICE credentials, their certificate and a
few lines that an answer does not depend on. What is the same is read once by `media.sdp` and
kept; what differs is checked for each offer. An offer that is unusual in any way, a wrong one
above all, is left to `media.sdp` altogether, so the result is the same, errors included.
"""

from __future__ import annotations

import dataclasses
import functools

from chatroom.errors import BadOffer, NoOpus
from media.sdp import Kind, Offer, parse_offer
from media.sdp_lines import fingerprint, ice_credentials

MAX_SHAPES = 256
_MAX_CHARACTERS = 8 * 1024
"""Longer offers are not kept."""

_IDLE = ("a=candidate:", "a=msid:", "a=ssrc:", "a=ssrc-group:", "a=rtcp:")
"""Beginnings of lines that an answer does not depend on."""
_UFRAG, _PASSWORD, _FINGERPRINT = "a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:"
_OWN = (_UFRAG, _PASSWORD, _FINGERPRINT)
"""Beginnings of lines with a client's own values."""
_BEGINNINGS = frozenset(beginning[:7] for beginning in (*_IDLE, *_OWN))
"""What lets most lines through at once."""

# What stands for those values in a shape. Values of other hash functions are never looked at.
_ANY_UFRAG = "shape"
_ANY_PASSWORD = "shapeshapeshapeshapeshape"
_ANY_PRINTS = {
    algorithm: (algorithm, ":".join(["00"] * size))
    for algorithm, size in (("sha-256", 32), ("sha-384", 48), ("sha-512", 64))
}


def read_offer(sdp: str, *, kind: Kind, max_sections: int) -> Offer:
    """As `media.sdp.parse_offer`, which see."""
    return _familiar(sdp, kind, max_sections) or parse_offer(
        sdp, kind=kind, max_sections=max_sections
    )


def _familiar(sdp: str, kind: Kind, max_sections: int) -> Offer | None:
    """None for an offer that is better read in full."""
    text = sdp.replace("\r\n", "\n")
    if (
        len(text) > _MAX_CHARACTERS
        or not text.startswith("v=0\n")
        or "\r" in text
        or not text.isascii()
    ):
        return None
    own: dict[str, str] = {}
    version, origin, *lines = text.split("\n")
    kept = [version] if origin.startswith("o=") else [version, origin]
    for line in lines:
        if line[:7] not in _BEGINNINGS:
            kept.append(line)
        elif line.startswith(_OWN):
            name, stand_in = _stand_in(line)
            if own.setdefault(name, line) != line:
                return None  # which of them counts is not for here
            kept.append(stand_in)
        elif not line.startswith(_IDLE):
            kept.append(line)
    if _UFRAG not in own or _PASSWORD not in own:
        return None
    shape = _shape("\n".join(kept), kind, max_sections)
    if shape is None:
        return None
    prints = [fingerprint(own[a][len(_FINGERPRINT) :].strip()) for a, _ in shape.fingerprints]
    given = tuple(one for one in prints if one is not None)
    try:
        ufrag, password = ice_credentials(
            own[_UFRAG][len(_UFRAG) :].strip(), own[_PASSWORD][len(_PASSWORD) :].strip()
        )
    except BadOffer:
        return None
    if len(given) < len(prints):
        return None
    return dataclasses.replace(shape, ice_ufrag=ufrag, ice_pwd=password, fingerprints=given)


def _stand_in(line: str) -> tuple[str, str]:
    """Which value a line has, a hash function for fingerprints, and the line for the shape."""
    if line.startswith(_UFRAG):
        return _UFRAG, _UFRAG + _ANY_UFRAG
    if line.startswith(_PASSWORD):
        return _PASSWORD, _PASSWORD + _ANY_PASSWORD
    algorithm = line[len(_FINGERPRINT) :].strip().partition(" ")[0].lower()
    algorithm, digest = _ANY_PRINTS.get(algorithm, ("none", "00"))
    return algorithm, f"{_FINGERPRINT}{algorithm} {digest}"


@functools.lru_cache(maxsize=MAX_SHAPES)
def _shape(text: str, kind: Kind, max_sections: int) -> Offer | None:
    """The offer with the stand-ins in it; None where one did not come through, because another
    line says the same in an unusual form, or where the offer is wrong."""
    try:
        offer = parse_offer(text, kind=kind, max_sections=max_sections)
    except (BadOffer, NoOpus):
        return None
    ours = (offer.ice_ufrag, offer.ice_pwd) == (_ANY_UFRAG, _ANY_PASSWORD)
    return offer if ours and set(offer.fingerprints) <= set(_ANY_PRINTS.values()) else None
