"""The Python plane's use of libsrtp."""

from __future__ import annotations

import struct

import pylibsrtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.plane import SrtpKeys, SrtpProfile
from media.plane_srtp import MAX_SOURCES, IndexOutOfStep, Srtp, TooManySources, infer_index
from tests.media.client import random_keys, srtp_session


def packet(index: int, ssrc: int = 1) -> bytes:
    return struct.pack("!BBHII", 0x80, 96, index & 0xFFFF, 0, ssrc) + b"opus"


@given(
    start=st.integers(0, 65_535),
    steps=st.lists(st.integers(1, 20_000) | st.integers(-900, -1), min_size=1, max_size=40),
)
def test_our_inference_of_the_index_is_libsrtps(start: int, steps: list[int]) -> None:
    keys = random_keys(SrtpProfile.AES128_CM_HMAC_SHA1_80)
    ours = Srtp(keys)
    receiver = srtp_session(keys.profile, keys.send, pylibsrtp.Policy.SSRC_ANY_INBOUND)
    index = highest = start
    seen = set()
    for step in [0, *steps]:
        index = highest + step
        if index < 0 or index in seen or highest - index >= 900:
            continue
        seen.add(index)
        try:
            protected = ours.protect_rtp(packet(index), index)
        except IndexOutOfStep:
            # Only what libsrtp itself would take for another index.
            assert infer_index(highest, index & 0xFFFF) != index
            continue
        assert receiver.unprotect(protected) == packet(index)
        highest = max(highest, index)


def test_an_index_out_of_step_is_refused_and_not_sent() -> None:
    srtp = Srtp(random_keys())
    with pytest.raises(IndexOutOfStep):
        srtp.protect_rtp(packet(65_536), 65_536)
    srtp.protect_rtp(packet(65_535), 65_535)
    srtp.protect_rtp(packet(65_536), 65_536)
    with pytest.raises(IndexOutOfStep):
        srtp.protect_rtp(packet(5), 5)
    with pytest.raises(ValueError, match="cannot be protected"):
        srtp.protect_rtp(bytes(1400), 0)
    with pytest.raises(ValueError, match="cannot be protected"):
        srtp.protect_rtcp(b"")


def test_a_peer_has_only_so_many_sources() -> None:
    keys = random_keys()
    mirrored = SrtpKeys(keys.profile, keys.receive, keys.send)
    sender, receiver = Srtp(mirrored), Srtp(keys)
    for ssrc in range(MAX_SOURCES):
        receiver.unprotect_rtp(sender.protect_rtp(packet(1, ssrc), 1))
    with pytest.raises(TooManySources):
        receiver.unprotect_rtp(sender.protect_rtp(packet(1, 99), 1))
    assert receiver.unprotect_rtp(sender.protect_rtp(packet(2, 0), 2)) == packet(2, 0)
