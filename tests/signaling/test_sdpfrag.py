"""Fragments, entity tags, and Link headers."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatroom.errors import BadOffer
from signaling.sdpfrag import ice_links, matches, parse_fragment, quoted, ufrag_of

FRAGMENT = (
    "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
    "a=candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host\r\na=end-of-candidates\r\n"
)


def test_a_fragment() -> None:
    fragment = parse_fragment(FRAGMENT)
    assert fragment.ufrag == "EsAw"
    assert fragment.password == "P2uYro0UCOQ4zxjKXaWCBui1"
    assert fragment.candidates == 1
    assert ufrag_of("v=0\r\n" + FRAGMENT) == "EsAw"


@pytest.mark.parametrize("text", ["", "hello", "a=ice-ufrag:x\r\n", "\x00", "{}"])
def test_no_fragment(text: str) -> None:
    with pytest.raises(BadOffer):
        parse_fragment(text)


@given(st.text())
def test_nothing_but_bad_offer_comes_out(text: str) -> None:
    with contextlib.suppress(BadOffer):
        parse_fragment(text)


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ('"abc"', True),
        ("*", True),
        ('"*"', True),
        ('"x", "abc"', True),
        ('"x"', False),
        ("", False),
    ],
)
def test_if_match(header: str, same: bool) -> None:
    assert matches(header, "abc") is same
    assert matches(header, quoted("abc")) is same


def test_links() -> None:
    assert ice_links(
        ["stun:stun.example.org", 'turn:turn.example.org:3478?transport=udp alice p"w']
    ) == [
        '<stun:stun.example.org>; rel="ice-server"',
        '<turn:turn.example.org:3478?transport=udp>; rel="ice-server"; username="alice"; '
        'credential="p\\"w"; credential-type="password"',
    ]


@pytest.mark.parametrize("server", ["", "http://x", "turn:x", "stun:x y z", "stun:<x>"])
def test_wrong_servers(server: str) -> None:
    with pytest.raises(ValueError, match="ICE server"):
        ice_links([server])
