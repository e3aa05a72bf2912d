"""Offers of real clients, broken offers, and answers that other implementations read."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from chatroom.errors import BadOffer, NoOpus
from media.plane import IceCredentials
from media.sdp import (
    AnswerSection,
    Kind,
    Offer,
    make_answer,
    make_fragment,
    parse_fragment,
    parse_offer,
)

OFFERS = {
    path.stem: path.read_bytes().decode()
    for path in sorted((Path(__file__).parents[1] / "data" / "sdp").glob("*.sdp"))
}
CREDENTIALS = IceCredentials("srvr", "s" * 24, "clnt", "c" * 24)
FINGERPRINTS = [("sha-256", ":".join(["AB"] * 32))]
CANDIDATES = [("127.0.0.1", 7000), ("203.0.113.5", 7000), ("2001:db8::5", 7000)]


def kind_of(name: str) -> Kind:
    return "publish" if name.endswith("publish") else "listen"


def parsed(name: str, max_sections: int = 3) -> Offer:
    return parse_offer(OFFERS[name], kind=kind_of(name), max_sections=max_sections)


def answered(offer: Offer) -> str:
    sections = {
        s.index: AnswerSection(1000 + s.index, "room", f"room slot{s.index}")
        if offer.kind == "listen"
        else AnswerSection()
        for s in offer.accepted
    }
    return make_answer(
        offer,
        credentials=CREDENTIALS,
        fingerprints=FINGERPRINTS,
        candidates=CANDIDATES,
        sections=sections,
        ptime_ms=20,
        maxptime_ms=120,
    )


# --------------------------------------------------------------------------------- offers in


@pytest.mark.parametrize("name", sorted(OFFERS))
def test_real_offers_are_understood_as_aiortc_understands_them(name: str) -> None:
    offer = parsed(name)
    theirs = SessionDescription.parse(OFFERS[name])
    first = theirs.media[offer.accepted[0].index]
    assert first.ice is not None
    assert first.dtls is not None
    assert (offer.ice_ufrag, offer.ice_pwd) == (
        first.ice.usernameFragment,
        first.ice.password,
    )
    assert set(offer.fingerprints) == {
        (f.algorithm, f.value.upper()) for f in first.dtls.fingerprints
    }
    assert offer.setup == "actpass"
    assert offer.dtls_role == "server"
    assert len(offer.sections) == len(theirs.media)
    assert list(offer.bundle) == theirs.group[0].items
    for section, other in zip(offer.sections, theirs.media, strict=True):
        assert (section.mid, section.kind) == (other.rtp.muxId, other.kind)
        if section.payload_type is not None:
            opus = next(c for c in other.rtp.codecs if c.name.lower() == "opus")
            assert (section.payload_type, section.direction) == (
                opus.payloadType,
                other.direction,
            )


def test_chromium_publishes_with_audio_levels() -> None:
    (section,) = parsed("chromium-publish").accepted
    assert (section.payload_type, section.audio_level_id, section.direction) == (
        111,
        1,
        "sendonly",
    )


def test_surplus_and_foreign_sections_are_refused_in_their_places() -> None:
    offer = parsed("chromium-listen", max_sections=2)
    assert [s.payload_type for s in offer.sections] == [111, 111, None]
    offer = parsed("chromium-video")
    taken = {s.kind: s.payload_type for s in offer.sections}
    assert taken == {"application": None, "video": None, "audio": 111}


def test_asking_for_lost_packets_is_seen() -> None:
    text = OFFERS["chromium-listen"].replace(
        "a=rtpmap:111 opus/48000/2\r\n", "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 nack\r\n", 1
    )
    offer = parse_offer(text, kind="listen", max_sections=3)
    assert [s.nack for s in offer.sections] == [True, False, False]
    assert answered(offer).count("a=rtcp-fb:111 nack") == 1


def listen(**changes: str) -> str:
    """A minimal good offer, with lines replaced by name."""
    lines = {
        "group": "a=group:BUNDLE 0",
        "media": "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "mid": "a=mid:0",
        "ufrag": "a=ice-ufrag:abcd",
        "pwd": "a=ice-pwd:" + "p" * 22,
        "fingerprint": "a=fingerprint:sha-256 " + ":".join(["0f"] * 32),
        "setup": "a=setup:actpass",
        "direction": "a=recvonly",
        "mux": "a=rtcp-mux",
        "rtpmap": "a=rtpmap:111 opus/48000/2",
    } | changes
    head = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\n"
    return head + "".join(line + "\n" for line in lines.values() if line)


BAD = {
    "begin with v=0": "",
    "is not of the form": "v=0\nhello there",
    "over 64 KiB": "v=0\n" + "a=x\n" * 20_000,
    "no audio section": listen(media="m=video 9 UDP/TLS/RTP/SAVPF 111"),
    "Media line 1": listen(media="m=audio nine UDP/TLS/RTP/SAVPF 111"),
    "more than 32": listen() + "m=video 9 UDP/TLS/RTP/SAVPF 96\n" * 40,
    "port 0": listen(media="m=audio 0 UDP/TLS/RTP/SAVPF 111"),
    "not UDP/TLS": listen(media="m=audio 9 RTP/AVP 111"),
    "ICE credentials": listen(ufrag=""),
    "a=ice-ufrag is not": listen(ufrag="a=ice-ufrag:a b"),
    "a=ice-pwd is not": listen(pwd="a=ice-pwd:short"),
    "no DTLS fingerprint": listen(fingerprint=""),
    "No fingerprint is": listen(fingerprint="a=fingerprint:sha-1 AB:CD"),
    "a=setup must be": listen(setup="a=setup:holdconn"),
    "must be received": listen(direction="a=sendonly"),
    "rtcp-mux": listen(mux=""),
    "not in the BUNDLE": listen(group="a=group:BUNDLE 7"),
    "used twice": listen() + "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:0\n",
    "one BUNDLE group": listen(group="")
    + listen(mid="a=mid:1")[listen(mid="a=mid:1").index("m=audio") :],
    "ICE-lite": listen(group="a=ice-lite"),
}


@pytest.mark.parametrize("complaint", BAD)
def test_a_bad_offer_is_refused_with_what_is_wrong(complaint: str) -> None:
    with pytest.raises(BadOffer) as caught:
        parse_offer(BAD[complaint], kind="listen", max_sections=3)
    assert complaint in caught.value.message


def test_the_wrong_way_to_publish_and_no_opus() -> None:
    with pytest.raises(BadOffer, match="must be sent"):
        parse_offer(listen(), kind="publish", max_sections=1)
    for rtpmap in ("a=rtpmap:111 PCMU/8000", "a=rtpmap:111 opus/48000", ""):
        with pytest.raises(NoOpus, match="Opus"):
            parse_offer(listen(rtpmap=rtpmap), kind="listen", max_sections=1)
    with pytest.raises(NoOpus):
        parse_offer(
            listen(media="m=audio 9 UDP/TLS/RTP/SAVPF 72", rtpmap="a=rtpmap:72 opus/48000/2"),
            kind="listen",
            max_sections=1,
        )


def test_what_is_unusual_but_right_is_taken() -> None:
    passive = parse_offer(listen(setup="a=setup:passive"), kind="listen", max_sections=1)
    assert passive.dtls_role == "client"
    assert "a=setup:active" in answered(passive)
    alone = parse_offer(listen(group="", mid=""), kind="listen", max_sections=1)
    assert "BUNDLE" not in answered(alone)
    assert "a=mid" not in answered(alone)
    both = parse_offer(listen(direction=""), kind="publish", max_sections=1)
    assert both.sections[0].direction == "sendrecv"
    assert "a=recvonly" in answered(both)


# ------------------------------------------------------------------------------- answers out


@pytest.mark.parametrize("name", sorted(OFFERS))
def test_an_answer_reads_back(name: str) -> None:
    offer = parsed(name)
    text = answered(offer)
    answer = SessionDescription.parse(text)
    assert "a=ice-lite\r\n" in text
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    assert [m.kind for m in answer.media] == [s.kind for s in offer.sections]
    assert answer.group[0].items == [s.mid for s in offer.accepted]
    for section, media in zip(offer.sections, answer.media, strict=True):
        assert media.rtp.muxId == section.mid
        if section.payload_type is None:
            assert media.port == 0
            continue
        assert media.port == 7000
        assert media.rtcp_mux
        assert media.direction == ("sendonly" if offer.kind == "listen" else "recvonly")
        assert media.ice is not None
        assert (media.ice.usernameFragment, media.ice.password) == ("srvr", "s" * 24)
        assert media.dtls is not None
        assert media.dtls.role == "server"
        (codec,) = media.rtp.codecs
        assert (codec.payloadType, codec.name, codec.channels) == (section.payload_type, "opus", 2)
        assert codec.parameters == {"minptime": 10, "useinbandfec": 1}
        if offer.kind == "listen":
            assert media.rtp.headerExtensions == []
            assert media.ssrc[0].ssrc == 1000 + section.index
            assert media.msid == f"room slot{section.index}"
        else:
            assert [h.uri for h in media.rtp.headerExtensions] == [
                "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
            ]
    first = answer.media[offer.accepted[0].index]
    hosts = sorted(first.ice_candidates, key=lambda c: -c.priority)
    assert [c.ip for c in hosts] == ["203.0.113.5", "2001:db8::5", "127.0.0.1"]
    assert {c.type for c in hosts} == {"host"}
    assert first.ice_candidates_complete


async def test_aiortc_takes_the_answer_to_its_own_offer() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for _ in range(2):
        connection.addTransceiver("audio", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = parse_offer(connection.localDescription.sdp, kind="listen", max_sections=2)
    await connection.setRemoteDescription(RTCSessionDescription(answered(offer), "answer"))
    assert [t.currentDirection for t in connection.getTransceivers()] == ["recvonly"] * 2
    await connection.close()


def test_a_section_that_was_refused_cannot_be_taken() -> None:
    offer = parsed("chromium-listen", max_sections=1)
    for sections in ({1: AnswerSection()}, {}):
        with pytest.raises(ValueError, match="sections"):
            make_answer(
                offer,
                credentials=CREDENTIALS,
                fingerprints=FINGERPRINTS,
                candidates=[],
                sections=sections,
                ptime_ms=20,
                maxptime_ms=120,
            )


# --------------------------------------------------------------------------------- fragments


def test_an_ice_restart_goes_there_and_back() -> None:
    text = (
        "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
        "a=mid:0\r\na=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n"
        "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n"
    )
    fragment = parse_fragment(text)
    assert (fragment.ufrag, fragment.mid) == ("ysXw", "0")
    back = make_fragment(fragment, credentials=CREDENTIALS, candidates=CANDIDATES)
    again = parse_fragment(back)
    assert (again.ufrag, again.password, again.mid) == ("srvr", "s" * 24, "0")
    assert "a=ice-lite" in back
    assert back.count("a=candidate") == 3


@pytest.mark.parametrize("text", ["", "hello", "a=ice-ufrag:ysXw", "a=ice-pwd:" + "x" * 22])
def test_a_fragment_without_credentials_is_refused(text: str) -> None:
    with pytest.raises(BadOffer):
        parse_fragment(text)


# ------------------------------------------------------------------------------------- fuzz


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A real offer with lines dropped, doubled, moved, spoilt."""
    lines = draw(st.sampled_from(sorted(OFFERS.values()))).split("\r\n")
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        change = draw(st.integers(0, 4))
        if change == 0:
            del lines[at]
        elif change == 1:
            lines.insert(draw(st.integers(0, len(lines))), line)
        elif change == 2:
            cut = draw(st.integers(0, len(line)))
            lines[at] = line[:cut] + draw(st.text(max_size=8)) + line[cut:]
        elif change == 3:
            lines[at] = line[: draw(st.integers(0, len(line)))]
        else:
            lines[at] = line.partition(":")[0] + ":" + draw(st.text(max_size=20))
        if not lines:
            break
    return draw(st.sampled_from(["\r\n", "\n"])).join(lines)


@settings(max_examples=400, deadline=None)
@given(text=mutated(), kind=st.sampled_from(["publish", "listen"]), most=st.integers(0, 4))
def test_mutated_offers_give_an_answer_or_a_documented_error(
    text: str, kind: Kind, most: int
) -> None:
    with contextlib.suppress(BadOffer, NoOpus):
        offer = parse_offer(text, kind=kind, max_sections=most)
        assert 0 < len(offer.accepted) <= most
        answer = answered(offer)
        assert answer.isascii()
        assert len(SessionDescription.parse(answer).media) == len(offer.sections)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=300) | mutated())
def test_any_text_is_a_fragment_or_a_documented_error(text: str) -> None:
    with contextlib.suppress(BadOffer):
        fragment = parse_fragment(text)
        make_fragment(fragment, credentials=CREDENTIALS, candidates=CANDIDATES)
