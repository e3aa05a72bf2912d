"""Offers of a known shape give what reading them in full gives, errors included."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatroom.errors import BadOffer, NoOpus
from media import sdp_shapes
from media.sdp import Kind, Offer, parse_offer
from media.sdp_shapes import read_offer
from tests.media.test_sdp import BAD, OFFERS, kind_of, listen, mutated

OTHER = {
    r"(?m)^(a=ice-ufrag:).*?(\r?)$": r"\1other\2",
    r"(?m)^(a=ice-pwd:).*?(\r?)$": r"\1otherotherotherotherother\2",
    r"(?m)^(a=fingerprint:sha-\d+ )..:..(.*)$": r"\g<1>1b:1c\2",
    r"(?m)^(o=).*?(\r?)$": r"\1- 2 2 IN IP4 127.0.0.1\2",
    r"(?m)^(a=mid:)": "a=candidate:1 1 udp 5 192.0.2.7 9 typ host\na=ssrc:7 cname:x\n" + r"\1",
}


def anothers(offer: str) -> str:
    """The same player's offer for another session."""
    for pattern, replacement in OTHER.items():
        offer = re.sub(pattern, replacement, offer)
    return offer


def outcome(read: object, text: str, kind: Kind, most: int) -> Offer | tuple[type, str]:
    assert callable(read)
    try:
        offer = read(text, kind=kind, max_sections=most)
    except (BadOffer, NoOpus) as error:
        return type(error), error.message
    assert isinstance(offer, Offer)
    return offer


@pytest.mark.parametrize("name", sorted(OFFERS))
def test_a_player_is_read_in_full_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = kind_of(name)
    full = parse_offer(anothers(OFFERS[name]), kind=kind, max_sections=3)
    read_offer(OFFERS[name], kind=kind, max_sections=3)
    monkeypatch.delattr(sdp_shapes, "parse_offer")
    again = read_offer(anothers(OFFERS[name]), kind=kind, max_sections=3)
    assert again == full
    assert (again.ice_ufrag, again.fingerprints[0][1][:5]) == ("other", "1B:1C")


FIRST_SAYS_OTHERWISE = listen(ufrag="a=ice-ufrag :wxyz\na=ice-ufrag:abcd")
TWO_PRINTS = listen(setup="a=setup:actpass\na=fingerprint:sha-512 " + ":".join(["0f"] * 64))
ONE_OF_TWO_IS_BAD = listen(setup="a=setup:actpass\na=fingerprint:sha-1 " + ":".join(["0f"] * 20))


@settings(max_examples=300, deadline=None)
@given(text=mutated(), kind=st.sampled_from(["publish", "listen"]), most=st.integers(0, 4))
@example(text=FIRST_SAYS_OTHERWISE, kind="listen", most=1)
@example(text=TWO_PRINTS, kind="listen", most=1)
@example(text=ONE_OF_TWO_IS_BAD, kind="listen", most=1)
@example(text="o=- 1 1 IN IP4 0.0.0.0\n" + listen(), kind="listen", most=1)
@example(text=listen(fingerprint="a=fingerprint:md5 00"), kind="listen", most=1)
@example(text=listen(fingerprint="a=fingerprint:none 00"), kind="listen", most=1)
@example(text=listen(fingerprint="a=fingerprint:  sha-256  0F"), kind="listen", most=1)
@example(text=listen(ufrag="a=ice-ufrag:x"), kind="listen", most=1)
@example(text=listen(ufrag="a=ice-ufrag:ab cd"), kind="listen", most=1)
@example(text=listen(pwd="a=ice-pwd:short"), kind="listen", most=1)
@example(text=listen(fingerprint="a=fingerprint:sha-256 AB:CD"), kind="listen", most=1)
@example(text=listen().replace("a=setup", "a=ssrc:1\ra=setup"), kind="listen", most=1)
@example(text=listen() + "a=ssrc:ü\n", kind="listen", most=1)
@example(text=listen().replace("\n", "\r\n"), kind="listen", most=1)
def test_the_outcome_is_that_of_reading_in_full(text: str, kind: Kind, most: int) -> None:
    full = outcome(parse_offer, text, kind, most)
    # The second time from memory, where it is a shape to be kept.
    assert outcome(read_offer, text, kind, most) == full
    assert outcome(read_offer, text, kind, most) == full


@pytest.mark.parametrize("why", sorted(BAD))
def test_bad_offers_are_told_the_same(why: str) -> None:
    assert outcome(read_offer, BAD[why], "listen", 3) == outcome(parse_offer, BAD[why], "listen", 3)


def test_shapes_are_bounded() -> None:
    for number in range(sdp_shapes.MAX_SHAPES + 50):
        read_offer(listen(mid=f"a=mid:0\na=x:{number}"), kind="listen", max_sections=1)
    assert sdp_shapes._shape.cache_info().currsize == sdp_shapes.MAX_SHAPES
