"""What the Python plane knows of its peers and groups."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from media.plane import Address, IceCredentials, PeerHandle
from media.plane_group import History, NackAllowance, Receptions
from media.plane_socket import Ancillary
from media.plane_srtp import Srtp


@dataclass(slots=True, eq=False)
class Route:
    """Where a datagram came from, to where, and when: how to reach its sender."""

    sock: socket.socket
    sockaddr: Any
    source: Ancillary
    checked: float


@dataclass(slots=True, eq=False)
class Member:
    """A peer's place in a group."""

    peer: Peer
    group: Group
    payload_type: int
    offsets: dict[int, int]
    since: int
    allowance: NackAllowance = field(default_factory=NackAllowance)

    def rewrite(self, packet: bytes, index: int) -> tuple[bytes, int]:
        """The packet and its index as this member is to see them."""
        index += self.offsets.get(int.from_bytes(packet[8:12], "big"), 0)
        second = packet[1] & 0x80 | self.payload_type
        head = bytes((packet[0], second)) + (index & 0xFFFF).to_bytes(2, "big")
        return head + packet[4:], index


@dataclass(slots=True, eq=False)
class Group:
    members: dict[PeerHandle, Member] = field(default_factory=dict)
    history: History = field(default_factory=History)
    receptions: Receptions = field(default_factory=Receptions)


@dataclass(slots=True, eq=False)
class Peer:
    handle: PeerHandle
    credentials: IceCredentials
    checked: float
    previous: IceCredentials | None = None
    nominated: Address | None = None
    latest: Address | None = None
    routes: dict[Address, Route] = field(default_factory=dict)
    srtp: Srtp | None = None
    member: Member | None = None
    expired: bool = False

    @property
    def route(self) -> Route | None:
        """Where packets for the peer go now."""
        address = self.nominated or self.latest
        return None if address is None else self.routes.get(address)
