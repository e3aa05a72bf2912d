"""One peer's SRTP in both directions, by libsrtp (RFC 3711, RFC 7714).

libsrtp keeps the roll-over counter itself, from the sequence numbers that it sees. The plane's
callers name whole packet indices instead, so every packet to be protected is checked against
what libsrtp is going to assume; a packet that it would protect under another counter is refused
rather than sent undecryptable.
"""

from __future__ import annotations

import pylibsrtp

from media.plane import SrtpKeys, SrtpProfile

MAX_RTP_BYTES = 1356
"""Longest packet that can be protected; pylibsrtp's buffer holds 1,500 with the trailer."""
MAX_SRTP_BYTES = 1500
MAX_SOURCES = 16
"""SSRCs accepted of one peer: each costs libsrtp a replay window."""

_HALF = 0x8000
_LIBSRTP_PROFILES = {
    SrtpProfile.AEAD_AES_256_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AES128_CM_HMAC_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}
_REPLAYS = frozenset({"replay check failed (bad index)", "replay check failed (index too old)"})


class SrtpAuthFailed(Exception):
    """The packet was not protected with this peer's keys, or was changed on the way."""


class SrtpReplayed(Exception):
    """The packet was received before, or is older than the replay window."""


class TooManySources(Exception):
    """The peer sends more SSRCs than it may."""


class IndexOutOfStep(ValueError):
    """The packet index is not the one that libsrtp and the receiver would infer."""


class Srtp:
    """The two directions of one peer."""

    __slots__ = ("_highest", "_receive", "_send", "_sources")

    def __init__(self, keys: SrtpKeys) -> None:
        """Raises ValueError where the key material is too short for its profile."""
        self._send = _session(keys.profile, keys.send, pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
        self._receive = _session(keys.profile, keys.receive, pylibsrtp.Policy.SSRC_ANY_INBOUND)
        self._highest: dict[int, int] = {}
        self._sources: set[int] = set()

    def protect_rtp(self, packet: bytes, index: int) -> bytes:
        """Protect under `index`, whose low 16 bits are the packet's sequence number. The same
        index may be protected again (retransmission), within 1,024 of the highest. Raises
        IndexOutOfStep; ValueError for a packet that is no RTP or too long."""
        if len(packet) < 12 or len(packet) > MAX_RTP_BYTES:
            raise ValueError(f"an RTP packet of {len(packet)} bytes cannot be protected")
        ssrc = int.from_bytes(packet[8:12], "big")
        sequence = int.from_bytes(packet[2:4], "big")
        highest = self._highest.get(ssrc, 0)
        if index != infer_index(highest, sequence):
            raise IndexOutOfStep(
                f"index {index} with sequence number {sequence} does not follow {highest}"
            )
        try:
            protected: bytes = self._send.protect(packet)
        except pylibsrtp.Error as error:
            raise IndexOutOfStep(f"index {index}: {error}") from error
        if index > highest or ssrc not in self._highest:
            self._highest[ssrc] = index
        return protected

    def protect_rtcp(self, packet: bytes) -> bytes:
        """Protect a compound packet; the SRTCP index is libsrtp's own. Raises ValueError."""
        if len(packet) < 8 or len(packet) > MAX_RTP_BYTES:
            raise ValueError(f"an RTCP packet of {len(packet)} bytes cannot be protected")
        protected: bytes = self._send.protect_rtcp(packet)
        return protected

    def unprotect_rtp(self, packet: bytes) -> bytes:
        """Plaintext of a packet seen for the first time. Raises SrtpReplayed, SrtpAuthFailed,
        TooManySources."""
        ssrc = int.from_bytes(packet[8:12], "big")
        if ssrc not in self._sources and len(self._sources) >= MAX_SOURCES:
            raise TooManySources
        try:
            plain: bytes = self._receive.unprotect(packet)
        except pylibsrtp.Error as error:
            raise (SrtpReplayed if str(error) in _REPLAYS else SrtpAuthFailed) from error
        self._sources.add(ssrc)
        return plain

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        """Plaintext of a compound packet. Raises SrtpReplayed, SrtpAuthFailed."""
        try:
            plain: bytes = self._receive.unprotect_rtcp(packet)
        except pylibsrtp.Error as error:
            raise (SrtpReplayed if str(error) in _REPLAYS else SrtpAuthFailed) from error
        return plain


def infer_index(highest: int, sequence: int) -> int:
    """The 48-bit index that a sequence number stands for after `highest` (RFC 3711, 3.3.1), with
    libsrtp's rule for the start: the first half of the first cycle knows no going back."""
    if highest <= _HALF:
        return sequence
    roll_over, low = divmod(highest, 0x10000)
    if low < _HALF and sequence - low > _HALF:
        roll_over -= 1
    elif low >= _HALF and low - _HALF > sequence:
        roll_over += 1
    return roll_over * 0x10000 + sequence


def _session(profile: SrtpProfile, key: bytes, direction: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=_LIBSRTP_PROFILES[profile])
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return pylibsrtp.Session(policy)
