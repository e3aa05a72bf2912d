"""The reference data plane: readable Python over asyncio's loop and libsrtp.

It does what `media.plane` says and nothing more, one packet at a time; the native core does the
same in batches, and both pass the same tests.

Who may send what: an address belongs to the peer that passed an authenticated connectivity check
from it (a few addresses a peer, while its candidate pairs are being tried). DTLS and SRTP are
taken from such addresses only. Packets to a peer go to the address that it nominated; until it
has nominated one, to the one that it checked last, because browsers begin the DTLS handshake
before they nominate.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import socket
import time
from collections.abc import Callable, Mapping

from media import rtcp, stun
from media.bounded_log import BoundedLog
from media.plane import (
    Address,
    Backlog,
    GroupHandle,
    IceCredentials,
    PeerHandle,
    Plane,
    PlaneListener,
    PlaneStats,
    Reception,
    SrtpKeys,
)
from media.plane_socket import bind_sockets, receive
from media.plane_srtp import (
    MAX_SRTP_BYTES,
    IndexOutOfStep,
    Srtp,
    SrtpAuthFailed,
    SrtpReplayed,
    TooManySources,
)
from media.plane_state import Group, Member, Peer, Route

logger = logging.getLogger(__name__)

MAX_ADDRESSES = 8
"""Addresses kept per peer; the nominated one is never the one to go."""
SLICE_S = 0.005
"""Sends that are spread over time go out in slices this far apart."""

_READS_PER_WAKE = 64


class PythonPlane:
    """See `media.plane.Plane`. Made by `open_python_plane`."""

    name = "python"

    def __init__(self, sockets: list[socket.socket], *, consent_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._port: int = sockets[0].getsockname()[1]
        self._consent_timeout_s = consent_timeout_s
        self._listener: PlaneListener | None = None
        self._peers: dict[PeerHandle, Peer] = {}
        self._by_ufrag: dict[str, Peer] = {}
        self._by_address: dict[Address, Peer] = {}
        self._groups: dict[GroupHandle, Group] = {}
        self._next_handle = 1
        self._stats = PlaneStats()
        self._log = BoundedLog(logger)
        self._closed = False
        self._late_s = 0.0
        self._backlog_from = (time.monotonic(), time.thread_time(), 0)
        for sock in sockets:
            self._loop.add_reader(sock, self._readable, sock)
        self._sweep_every_s = min(1.0, consent_timeout_s / 4)
        self._sweeper = self._loop.call_later(self._sweep_every_s, self._sweep)

    @property
    def port(self) -> int:
        return self._port

    def set_listener(self, listener: PlaneListener) -> None:
        self._listener = listener

    # ------------------------------------------------------------------------------ peers

    def add_peer(self, credentials: IceCredentials) -> PeerHandle:
        if credentials.local_ufrag in self._by_ufrag:
            raise ValueError(f"the ufrag {credentials.local_ufrag} is taken")
        peer = Peer(self._new_handle(), credentials, time.monotonic())
        self._peers[peer.handle] = peer
        self._by_ufrag[credentials.local_ufrag] = peer
        return peer.handle

    def restart_peer(self, peer: PeerHandle, credentials: IceCredentials) -> None:
        known = self._peers[peer]
        if self._by_ufrag.get(credentials.local_ufrag, known) is not known:
            raise ValueError(f"the ufrag {credentials.local_ufrag} is taken")
        if known.previous is None:
            known.previous = known.credentials
        else:
            # Restarted again before the last restart was used: only what works now is kept.
            self._by_ufrag.pop(known.credentials.local_ufrag, None)
            self._by_ufrag[known.previous.local_ufrag] = known
        known.credentials = credentials
        if known.previous.local_ufrag == credentials.local_ufrag:
            known.previous = None
        self._by_ufrag[credentials.local_ufrag] = known

    def remove_peer(self, peer: PeerHandle) -> None:
        known = self._peers.pop(peer, None)
        if known is None:
            return
        self._by_ufrag.pop(known.credentials.local_ufrag, None)
        if known.previous is not None:
            self._by_ufrag.pop(known.previous.local_ufrag, None)
        for address in known.routes:
            if self._by_address.get(address) is known:
                del self._by_address[address]
        self._leave(known)

    def set_keys(self, peer: PeerHandle, keys: SrtpKeys) -> None:
        self._peers[peer].srtp = Srtp(keys)

    def _new_handle(self) -> int:
        self._next_handle += 1
        return self._next_handle - 1

    # ----------------------------------------------------------------------------- sending

    def send_datagram(self, peer: PeerHandle, data: bytes) -> None:
        known = self._peers.get(peer)
        if known is not None and (route := known.route) is not None:
            self._send(route, data)

    def send_rtp(self, peer: PeerHandle, packet: bytes, index: int) -> None:
        if index & 0xFFFF != int.from_bytes(packet[2:4], "big"):
            raise ValueError("the packet's sequence number is not the low part of its index")
        known = self._peers.get(peer)
        if known is None or known.srtp is None or (route := known.route) is None:
            return
        self._send(route, known.srtp.protect_rtp(packet, index))

    def send_rtcp(self, peer: PeerHandle, packet: bytes) -> None:
        known = self._peers.get(peer)
        if known is None or known.srtp is None or (route := known.route) is None:
            return
        self._send(route, known.srtp.protect_rtcp(packet))

    def _send(self, route: Route, data: bytes) -> None:
        try:
            route.sock.sendmsg((data,), route.source, 0, route.sockaddr)
        except OSError:
            self._stats.send_blocked += 1
        else:
            self._stats.packets_sent += 1
            self._stats.bytes_sent += len(data)

    # ------------------------------------------------------------------------------ groups

    def add_group(self) -> GroupHandle:
        handle = self._new_handle()
        self._groups[handle] = Group()
        return handle

    def remove_group(self, group: GroupHandle) -> None:
        removed = self._groups.pop(group, None)
        for member in list(removed.members.values()) if removed else ():
            self._leave(member.peer)

    def join_group(
        self,
        group: GroupHandle,
        peer: PeerHandle,
        payload_type: int,
        offsets: Mapping[int, int],
    ) -> None:
        if not 0 <= payload_type <= 127:
            raise ValueError(f"{payload_type} is not a payload type")
        joined, known = self._groups[group], self._peers[peer]
        self._leave(known)
        known.member = Member(known, joined, payload_type, dict(offsets), joined.history.order)
        joined.members[peer] = known.member

    def leave_group(self, group: GroupHandle, peer: PeerHandle) -> None:
        known, left = self._peers.get(peer), self._groups.get(group)
        if known is not None and known.member is not None and known.member.group is left:
            self._leave(known)

    def _leave(self, peer: Peer) -> None:
        if peer.member is not None:
            del peer.member.group.members[peer.handle]
            peer.member = None

    def send_group(
        self, group: GroupHandle, packet: bytes, index: int, spread_s: float = 0.0
    ) -> None:
        if index & 0xFFFF != int.from_bytes(packet[2:4], "big"):
            raise ValueError("the packet's sequence number is not the low part of its index")
        sender = self._groups[group]
        now = time.monotonic()
        sender.history.keep(packet, index, now)
        protected: list[tuple[Route, bytes]] = []
        for member in sender.members.values():
            route, srtp = member.peer.route, member.peer.srtp
            if route is None or srtp is None:
                continue
            mine, mine_index = member.rewrite(packet, index)
            try:
                protected.append((route, srtp.protect_rtp(mine, mine_index)))
            except IndexOutOfStep as error:
                self._log.note("out of step", f"peer {member.peer.handle}: {error}")
        slices = min(len(protected), math.floor(spread_s / SLICE_S))
        if slices < 2:
            self._send_all(protected, now)
            return
        size = math.ceil(len(protected) / slices)
        for number, start in enumerate(range(0, len(protected), size)):
            part = protected[start : start + size]
            if number == 0:
                self._send_all(part, now)
            else:
                due = now + number * SLICE_S
                self._loop.call_later(number * SLICE_S, self._send_all, part, due)

    def _send_all(self, datagrams: list[tuple[Route, bytes]], due: float) -> None:
        if not self._closed:
            for route, data in datagrams:
                self._send(route, data)
            self._late_s = max(self._late_s, time.monotonic() - due)

    def send_group_rtcp(self, group: GroupHandle, packet: bytes) -> None:
        sender = self._groups[group]
        sender.receptions.sender_report(packet, time.monotonic())
        for member in sender.members.values():
            if (route := member.peer.route) is not None and member.peer.srtp is not None:
                self._send(route, member.peer.srtp.protect_rtcp(packet))

    def reception(self, group: GroupHandle) -> Reception:
        return self._groups[group].receptions.take()

    def _feedback(self, member: Member, packet: bytes, now: float) -> bool:
        """Take in what a member says; whether there is something in it for the listener."""
        try:
            messages = rtcp.parse(packet)
        except rtcp.RtcpError as error:
            self._drop("rtp_malformed", error)
            return False
        for message in messages:
            if isinstance(message, rtcp.ReceiverReport):
                for block in message.blocks:
                    member.group.receptions.add(block, now)
            elif isinstance(message, rtcp.Nack):
                for sequence in message.sequences:
                    if member.allowance.take(now) and self._retransmit(
                        member, message.media_ssrc, sequence, now
                    ):
                        self._stats.retransmitted += 1
                    else:
                        self._stats.retransmissions_refused += 1
        return any(isinstance(m, rtcp.SenderReport | rtcp.Goodbye) for m in messages)

    def _retransmit(self, member: Member, ssrc: int, sequence: int, now: float) -> bool:
        # Only what this member was sent in this group: under the numbers of an earlier group
        # there is another packet, and the same index must never be used for two.
        own = sequence - member.offsets.get(ssrc, 0)
        sent = member.group.history.find(ssrc, own, member.since, now)
        route, srtp = member.peer.route, member.peer.srtp
        if sent is None or route is None or srtp is None:
            return False
        try:
            self._send(route, srtp.protect_rtp(*member.rewrite(sent.packet, sent.index)))
        except IndexOutOfStep:
            return False
        return True

    # --------------------------------------------------------------------------- receiving

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(_READS_PER_WAKE):
            try:
                data, sockaddr, source = receive(sock)
            except OSError:
                return
            self._stats.packets_received += 1
            self._stats.bytes_received += len(data)
            self._received(data, Route(sock, sockaddr, source, time.monotonic()))
            if self._closed:
                return

    def _received(self, data: bytes, route: Route) -> None:
        host: str = route.sockaddr[0]
        if host.startswith("::ffff:") and "." in host:
            host = host[7:]
        address: Address = (host, route.sockaddr[1])
        first = data[0] if data else 255
        # RFC 7983
        if first < 4:
            self._stun(data, address, route)
        elif 20 <= first <= 63:
            peer = self._by_address.get(address)
            if peer is None:
                self._drop("dtls_unknown_peer", address)
            else:
                self._tell(lambda to: to.datagram_received(peer.handle, data, time.monotonic()))
        elif 128 <= first <= 191:
            self._srtp(data, address)
        else:
            self._drop("not_webrtc", address)

    def _stun(self, data: bytes, address: Address, route: Route) -> None:
        try:
            request = stun.parse(data)
        except stun.StunMalformed as error:
            self._drop("stun_malformed", f"{address}: {error}")
            return
        if request.type != stun.BINDING_REQUEST:
            # Keep-alive indications want no answer; a lite agent sends no requests itself, so
            # responses answer nothing.
            if request.type != stun.BINDING_INDICATION:
                self._drop("stun_malformed", address)
            return
        peer = self._by_ufrag.get(request.local_ufrag)
        if peer is None:
            self._drop("stun_unknown_peer", address)
            return
        credentials = peer.credentials
        if request.local_ufrag != credentials.local_ufrag and peer.previous is not None:
            credentials = peer.previous
        password = credentials.local_password
        if not request.authentic(password):
            self._drop("stun_bad_integrity", address)
            return
        if request.unknown or request.controlled:
            code = 420 if request.unknown else 487
            self._send(route, stun.error(request.transaction, code, password, request.unknown))
            return
        if credentials is peer.credentials and peer.previous is not None:
            self._by_ufrag.pop(peer.previous.local_ufrag, None)
            peer.previous = None
        if not self._own(peer, address, route):
            self._drop("stun_unknown_peer", f"{address} is another peer's")
            return
        now = route.checked
        peer.checked, peer.expired = now, False
        self._send(route, stun.success(request.transaction, *address, password))
        if request.use_candidate:
            changed = peer.nominated != address
            peer.nominated = address
            if changed:
                self._tell(lambda to: to.address_validated(peer.handle, address, now))

    def _own(self, peer: Peer, address: Address, route: Route) -> bool:
        """Note that `peer` was at `address`; whether it is the peer's now. Somebody else's
        address changes hands only when its owner has fallen silent there: a peer cannot take
        over another's by forging the source of a check."""
        owner = self._by_address.get(address)
        if owner is not None and owner is not peer:
            last = owner.routes[address].checked
            if route.checked - last < self._consent_timeout_s / 2:
                return False
            del owner.routes[address]
            owner.nominated = None if owner.nominated == address else owner.nominated
            owner.latest = None if owner.latest == address else owner.latest
        self._by_address[address] = peer
        peer.routes.pop(address, None)
        peer.routes[address] = route
        peer.latest = address
        if len(peer.routes) > MAX_ADDRESSES:
            oldest = next(a for a in peer.routes if a != peer.nominated)
            del peer.routes[oldest]
            del self._by_address[oldest]
        return True

    def _srtp(self, data: bytes, address: Address) -> None:
        peer = self._by_address.get(address)
        if peer is None:
            self._drop("srtp_unknown_peer", address)
            return
        if not 12 <= len(data) <= MAX_SRTP_BYTES:
            self._drop("rtp_malformed", address)
            return
        if peer.srtp is None:
            self._drop("srtp_no_keys", address)
            return
        # RFC 5761, section 4
        is_rtcp = 192 <= data[1] <= 223
        now = time.monotonic()
        try:
            unprotect = peer.srtp.unprotect_rtcp if is_rtcp else peer.srtp.unprotect_rtp
            packet = unprotect(data)
        except TooManySources:
            self._drop("rtp_too_many_sources", address)
        except SrtpReplayed:
            self._drop("srtcp_auth" if is_rtcp else "srtp_replay", address)
        except SrtpAuthFailed:
            self._drop("srtcp_auth" if is_rtcp else "srtp_auth", address)
        else:
            if not is_rtcp:
                self._tell(lambda to: to.rtp_received(peer.handle, packet, now))
            elif peer.member is None or self._feedback(peer.member, packet, now):
                self._tell(lambda to: to.rtcp_received(peer.handle, packet, now))

    # ------------------------------------------------------------------------------- rest

    def _sweep(self) -> None:
        self._sweeper = self._loop.call_later(self._sweep_every_s, self._sweep)
        now = time.monotonic()
        silent = [
            peer
            for peer in self._peers.values()
            if not peer.expired and now - peer.checked > self._consent_timeout_s
        ]
        for peer in silent:
            if self._peers.get(peer.handle) is not peer:
                continue  # removed by the listener, on being told of another
            peer.expired = True
            self._tell(lambda to, peer=peer: to.peer_expired(peer.handle, now))  # type: ignore[misc]

    def _tell(self, report: Callable[[PlaneListener], None]) -> None:
        if self._listener is None:
            return
        try:
            report(self._listener)
        except Exception as error:
            self._log.note("listener", f"the listener failed: {error!r}", error)

    def _drop(self, cause: str, detail: object = "") -> None:
        self._stats.dropped[cause] = self._stats.dropped.get(cause, 0) + 1
        self._log.note(cause, detail)

    def stats(self) -> PlaneStats:
        return dataclasses.replace(
            self._stats,
            dropped=dict(self._stats.dropped),
            peers=len(self._peers),
            groups=len(self._groups),
        )

    def backlog(self) -> Backlog:
        # The loop's thread is the one that sends, whatever else it does. Nothing is given up
        # here: what waits is what asyncio has not come to.
        wall, cpu, sent = self._backlog_from
        self._backlog_from = time.monotonic(), time.thread_time(), self._stats.packets_sent
        late_s, self._late_s = self._late_s, 0.0
        if self._closed:
            return Backlog()
        now, used, total = self._backlog_from
        busy = min(1.0, (used - cpu) / (now - wall)) if now > wall else 0.0
        return Backlog(late_ms=late_s * 1000, busy=busy, cpu=busy, datagrams=total - sent)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._sweeper.cancel()
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()


async def open_python_plane(hosts: list[str], port: int, *, consent_timeout_s: float) -> Plane:
    """Bind `port` (0: any) on every host and start receiving. Hosts and errors as for
    `media.plane_socket.bind_sockets`; `consent_timeout_s` is RFC 7675's."""
    return PythonPlane(bind_sockets(hosts, port), consent_timeout_s=consent_timeout_s)
