"""The data plane's face: everything that touches every packet, behind one interface.

A plane owns the UDP port. It answers the connectivity checks of known peers (RFC 8445, as an
ICE-lite agent), takes SRTP and SRTCP off what arrives (RFC 3711, RFC 7714), puts them on what
leaves, and sends one plaintext packet to a whole group. It decides nothing: who is known, which
keys they have, who belongs to which group and what is sent comes from above; what arrives is
reported to a `PlaneListener`.

There are two: `plane_py` (readable, the reference) and `plane_native` (the C core). The same
tests run against both.

Threads and time: every method is called from the event loop's thread, and every report is made
on it. Calls take effect in the order they are made, so a peer that joins a group between two
`send_group` calls gets exactly the second. `now` is in seconds on `time.monotonic()`'s clock.

Packet indices: RTP's 16-bit sequence number is the low part of a 48-bit packet index whose high
part is SRTP's roll-over counter (RFC 3711, section 3.3.1). Every send names the whole index. A
group's packets have indices of the group's own; each member has an offset per SSRC that is added
before sending, so that a member sees indices that start below 65,536 and go on without a gap
whatever groups it moves through.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

Address = tuple[str, int]
"""Numeric IP (IPv4 in its own form, also on a dual-stack socket) and port."""

PeerHandle = int
GroupHandle = int


class SrtpProfile(enum.Enum):
    """SRTP protection profiles of RFC 5764 and RFC 7714: name, key and salt length in bytes."""

    AEAD_AES_256_GCM = ("SRTP_AEAD_AES_256_GCM", 32, 12)
    AEAD_AES_128_GCM = ("SRTP_AEAD_AES_128_GCM", 16, 12)
    AES128_CM_HMAC_SHA1_80 = ("SRTP_AES128_CM_SHA1_80", 16, 14)

    @property
    def openssl_name(self) -> str:
        return self.value[0]

    @property
    def key_length(self) -> int:
        return self.value[1]

    @property
    def salt_length(self) -> int:
        return self.value[2]


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Master keys from the DTLS exporter; each is key and salt, concatenated."""

    profile: SrtpProfile
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """Both sides' short-term credentials (RFC 8445, section 5.3). `local_ufrag` is unique in
    the process: checks are told apart by it."""

    local_ufrag: str
    local_password: str = field(repr=False)
    remote_ufrag: str
    remote_password: str = field(repr=False)


@dataclass(slots=True)
class PlaneStats:
    """Counters since the plane was opened."""

    packets_sent: int = 0
    bytes_sent: int = 0
    packets_received: int = 0
    bytes_received: int = 0
    send_blocked: int = 0
    """Datagrams that the kernel did not take (EAGAIN, ENOBUFS, EPERM): lost at the sender."""
    shed: int = 0
    """Of those, datagrams that were given up because there were more than could be sent in time."""
    retransmitted: int = 0
    retransmissions_refused: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    """Packets received and thrown away, by cause: `stun_malformed`, `stun_unknown_peer`,
    `stun_bad_integrity`, `dtls_unknown_peer`, `srtp_unknown_peer`, `srtp_no_keys`, `srtp_auth`,
    `srtp_replay`, `srtcp_auth`, `rtp_malformed`, `rtp_too_many_sources`, `not_webrtc`."""
    peers: int = 0
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Reception:
    """What a group's members said of their reception since the last call (RFC 3550, 6.4)."""

    reports: int = 0
    loss_mean: float = 0.0
    """Mean fraction lost, 0 to 1."""
    loss_p95: float = 0.0
    jitter_ms_p50: float = 0.0
    jitter_ms_p95: float = 0.0
    rtt_ms_p50: float = 0.0
    rtt_ms_p95: float = 0.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far sending is behind: since the last call, or since the plane was opened."""

    late_ms: float = 0.0
    """The most that a group's datagram was behind its time, those that still wait included."""
    busy: float = 0.0
    """0 to 1: the share of its time that the busiest sending thread had work at hand. Waiting for
    a core counts, as that time is not free for more either."""
    cpu: float = 0.0
    """0 to 1: the share that the busiest was on a core."""
    datagrams: int = 0
    """Sent by these threads in this time."""
    shed: int = 0
    """Given up in this time because they were too late, or too many waited."""


class PlaneListener(Protocol):
    """Who is told of what arrives."""

    def address_validated(self, peer: PeerHandle, address: Address, now: float) -> None:
        """An authenticated check with USE-CANDIDATE came from `address`, which is where
        packets for the peer go from now on. First time and at every change."""

    def datagram_received(self, peer: PeerHandle, data: bytes, now: float) -> None:
        """A DTLS record (RFC 7983 demultiplexing) from an address that passed an authenticated
        check of the peer, nominated or not."""

    def rtp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None:
        """An authenticated RTP packet, in plaintext, seen for the first time."""

    def rtcp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None:
        """An authenticated compound RTCP packet, in plaintext. Not called for receiver reports
        and NACKs of group members, which the plane consumes."""

    def peer_expired(self, peer: PeerHandle, now: float) -> None:
        """No authenticated check for the consent time (RFC 7675). The peer is still known
        until `remove_peer`."""


class Plane(Protocol):
    """See the module's text. Handles are never reused."""

    name: str
    """"python" or "native", for the log and the metrics."""

    @property
    def port(self) -> int:
        """The bound UDP port."""

    def set_listener(self, listener: PlaneListener) -> None: ...

    def add_peer(self, credentials: IceCredentials) -> PeerHandle: ...

    def restart_peer(self, peer: PeerHandle, credentials: IceCredentials) -> None:
        """New credentials (ICE restart). The old ones are honoured until the first check with
        the new ones succeeds; keys and groups stay."""

    def remove_peer(self, peer: PeerHandle) -> None:
        """Forget the peer, its keys and its memberships. Unknown handles are ignored."""

    def set_keys(self, peer: PeerHandle, keys: SrtpKeys) -> None: ...

    def send_datagram(self, peer: PeerHandle, data: bytes) -> None:
        """Send as is (DTLS) to the validated address; until there is one, to the address of the
        latest authenticated check (browsers begin DTLS before they nominate). Dropped while
        there is neither. RTP and RTCP go the same way."""

    def send_rtp(self, peer: PeerHandle, packet: bytes, index: int) -> None:
        """Protect and send one RTP packet whose low 16 index bits equal its sequence number."""

    def send_rtcp(self, peer: PeerHandle, packet: bytes) -> None: ...

    def add_group(self) -> GroupHandle: ...

    def remove_group(self, group: GroupHandle) -> None: ...

    def join_group(
        self,
        group: GroupHandle,
        peer: PeerHandle,
        payload_type: int,
        offsets: Mapping[int, int],
    ) -> None:
        """Add a member. `offsets` maps SSRC to what is added to the group's packet indices for
        this member (default 0). A peer is in one group at most: joining moves it."""

    def leave_group(self, group: GroupHandle, peer: PeerHandle) -> None: ...

    def send_group(
        self, group: GroupHandle, packet: bytes, index: int, spread_s: float = 0.0
    ) -> None:
        """Send one plaintext RTP packet to every member: payload type, sequence number and
        keys are the member's. The datagrams may be spread over `spread_s` seconds. The packet
        is kept for retransmission to members that ask within a second, and that were members
        when it was sent: under its number an earlier group may have sent them another."""

    def send_group_rtcp(self, group: GroupHandle, packet: bytes) -> None:
        """Send one plaintext compound RTCP packet (a sender report) to every member."""

    def reception(self, group: GroupHandle) -> Reception: ...

    def stats(self) -> PlaneStats: ...

    def backlog(self) -> Backlog:
        """See `Backlog`. Nothing after `close`."""

    async def close(self) -> None: ...
