"""The native data plane: `media.plane.Plane` over the C core in media/native.

This file only passes calls down and events up. The core has threads of its own, which answer
connectivity checks, open SRTP, and encrypt and send to groups; what it has to report waits in a
queue until the event loop comes for it.

Importing this module raises ImportError where the extension was not built.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import struct
import weakref
from collections.abc import Mapping

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
    SrtpProfile,
)
from media.plane_group import HISTORY_S, NACKS_PER_S
from media.plane_socket import bind_sockets

try:
    from media._native import ffi, lib
except ImportError as error:
    raise ImportError(
        "The native data plane was not built: that takes a C compiler and OpenSSL's headers "
        "(Debian: gcc, libssl-dev) and then `pip install .` again. "
        f"Rooms work without it, at a tenth of the listeners. ({error})"
    ) from error

__all__ = ["NativePlane", "open_native_plane"]

logger = logging.getLogger(__name__)

QUEUE_BYTES = 8 * 1024 * 1024
"""What may wait for the event loop: about ten seconds of fifty speakers, or 5,000 handshakes."""

_PROFILES = {
    SrtpProfile.AEAD_AES_256_GCM: 0,
    SrtpProfile.AEAD_AES_128_GCM: 1,
    SrtpProfile.AES128_CM_HMAC_SHA1_80: 2,
}
_EVENT = struct.Struct("=QdIIHH16sI")
_VALIDATED, _DATAGRAM, _RTP, _RTCP, _EXPIRED = 1, 2, 3, 4, 5
_DRAIN_BYTES = 256 * 1024
_LOG_EVERY_S = 10.0
_UNKNOWN = -2
_DROPS = (
    "stun_malformed", "stun_unknown_peer", "stun_bad_integrity", "dtls_unknown_peer",
    "srtp_unknown_peer", "srtp_no_keys", "srtp_auth", "srtp_replay", "srtcp_auth",
    "rtp_malformed", "rtp_too_many_sources", "not_webrtc", "queue_full",
)  # fmt: skip


class NativePlane:
    """See `media.plane.Plane`. Made by `open_native_plane`."""

    name = "native"

    def __init__(self, core: object, port: int) -> None:
        self._core = core
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._listener: PlaneListener | None = None
        self._peers: set[PeerHandle] = set()
        self._buffer = ffi.new("uint8_t[]", _DRAIN_BYTES)
        self._view = ffi.buffer(self._buffer)
        self._last_stats = PlaneStats()
        self._failures = 0
        self._failure_logged = -math.inf
        self._told: dict[str, int] = {}
        self._telling = self._tell_later()
        # Also at interpreter exit: the threads must be gone before libcrypto is torn down.
        self._close_core = weakref.finalize(self, lib.plane_close, core)
        self._event_fd: int = lib.plane_event_fd(core)
        self._loop.add_reader(self._event_fd, self._drain)

    @property
    def port(self) -> int:
        return self._port

    @property
    def sending_threads(self) -> int:
        """How many threads a group's work is split over."""
        return int(lib.plane_sending_threads(self._core))

    def set_listener(self, listener: PlaneListener) -> None:
        self._listener = listener

    # ------------------------------------------------------------------------------ peers

    def add_peer(self, credentials: IceCredentials) -> PeerHandle:
        peer: PeerHandle = lib.plane_add_peer(self._open(), *_names(credentials))
        if not peer:
            raise ValueError(f"the ufrag {credentials.local_ufrag} is taken, or no ufrag")
        self._peers.add(peer)
        return peer

    def restart_peer(self, peer: PeerHandle, credentials: IceCredentials) -> None:
        self._known(peer)
        if lib.plane_restart_peer(self._open(), peer, *_names(credentials)):
            raise ValueError(f"the ufrag {credentials.local_ufrag} is taken, or no ufrag")

    def remove_peer(self, peer: PeerHandle) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            lib.plane_remove_peer(self._core, peer)

    def set_keys(self, peer: PeerHandle, keys: SrtpKeys) -> None:
        self._known(peer)
        length = keys.profile.key_length + keys.profile.salt_length
        if len(keys.send) < length or len(keys.receive) < length:
            raise ValueError(f"{keys.profile.name} takes {length} bytes of key and salt")
        profile = _PROFILES[keys.profile]
        send, receive = keys.send[:length], keys.receive[:length]
        if lib.plane_set_keys(self._open(), peer, profile, send, receive, length):
            raise RuntimeError("OpenSSL refused the keys")

    def _known(self, peer: PeerHandle) -> None:
        if peer not in self._peers:
            raise KeyError(peer)

    def _open(self) -> object:
        if not self._close_core.alive:
            raise RuntimeError("the plane is closed")
        return self._core

    # ----------------------------------------------------------------------------- sending

    def send_datagram(self, peer: PeerHandle, data: bytes) -> None:
        if peer in self._peers:
            lib.plane_send_datagram(self._core, peer, data, len(data))

    def send_rtp(self, peer: PeerHandle, packet: bytes, index: int) -> None:
        _check_index(packet, index)
        if peer in self._peers:
            lib.plane_send_rtp(self._core, peer, packet, len(packet), index)

    def send_rtcp(self, peer: PeerHandle, packet: bytes) -> None:
        if peer in self._peers:
            lib.plane_send_rtcp(self._core, peer, packet, len(packet))

    # ------------------------------------------------------------------------------ groups

    def add_group(self) -> GroupHandle:
        group: GroupHandle = lib.plane_add_group(self._open())
        if not group:
            raise MemoryError("no room for another group")
        return group

    def remove_group(self, group: GroupHandle) -> None:
        if self._close_core.alive:
            lib.plane_remove_group(self._core, group)

    def join_group(
        self,
        group: GroupHandle,
        peer: PeerHandle,
        payload_type: int,
        offsets: Mapping[int, int],
    ) -> None:
        if not 0 <= payload_type <= 127:
            raise ValueError(f"{payload_type} is not a payload type")
        ssrcs, adds, count = list(offsets), list(offsets.values()), len(offsets)
        if lib.plane_join_group(self._open(), group, peer, payload_type, ssrcs, adds, count):
            raise KeyError((group, peer))

    def leave_group(self, group: GroupHandle, peer: PeerHandle) -> None:
        if peer in self._peers:
            lib.plane_leave_group(self._core, group, peer)

    def send_group(
        self, group: GroupHandle, packet: bytes, index: int, spread_s: float = 0.0
    ) -> None:
        _check_index(packet, index)
        core = self._open()
        if lib.plane_send_group(core, group, packet, len(packet), index, spread_s) == _UNKNOWN:
            raise KeyError(group)

    def send_group_rtcp(self, group: GroupHandle, packet: bytes) -> None:
        if lib.plane_send_group_rtcp(self._open(), group, packet, len(packet)) == _UNKNOWN:
            raise KeyError(group)

    def reception(self, group: GroupHandle) -> Reception:
        taken = ffi.new("plane_reception *")
        if lib.plane_take_reception(self._open(), group, taken):
            raise KeyError(group)
        return Reception(
            reports=taken.reports,
            loss_mean=taken.loss_mean,
            loss_p95=taken.loss_p95,
            jitter_ms_p50=taken.jitter_ms_p50,
            jitter_ms_p95=taken.jitter_ms_p95,
            rtt_ms_p50=taken.rtt_ms_p50,
            rtt_ms_p95=taken.rtt_ms_p95,
        )

    # ------------------------------------------------------------------------------ events

    def _drain(self) -> None:
        # One buffer a turn of the loop: the descriptor stays readable while more is queued.
        size = lib.plane_drain(self._core, self._buffer, _DRAIN_BYTES)
        at = 0
        while at < size and self._close_core.alive:
            peer, now, kind, length, family, port, ip, scope = _EVENT.unpack_from(self._view, at)
            start = at + _EVENT.size
            data = self._view[start : start + length]
            at = start + (length + 7) // 8 * 8
            if self._listener is None or peer not in self._peers:
                continue
            try:
                if kind == _RTP:
                    self._listener.rtp_received(peer, data, now)
                elif kind == _DATAGRAM:
                    self._listener.datagram_received(peer, data, now)
                elif kind == _RTCP:
                    self._listener.rtcp_received(peer, data, now)
                elif kind == _VALIDATED:
                    self._listener.address_validated(peer, _address(family, ip, port, scope), now)
                elif kind == _EXPIRED:
                    self._listener.peer_expired(peer, now)
            except Exception:
                # One peer's trouble must not cost the others their packets.
                self._note_failure(now)

    def _note_failure(self, now: float) -> None:
        self._failures += 1
        if now - self._failure_logged >= _LOG_EVERY_S:
            logger.exception("the listener failed, %d times so far", self._failures)
            self._failure_logged = now

    def _tell_drops(self) -> None:
        """What the core dropped since the last time, in one line for all causes."""
        dropped = self.stats().dropped
        news = {cause: n - self._told.get(cause, 0) for cause, n in dropped.items()}
        told = ", ".join(f"{cause} {n}" for cause, n in news.items() if n > 0)
        if told:
            logger.warning("dropped in %g s: %s", _LOG_EVERY_S, told)
        self._told = dict(dropped)
        self._telling = self._tell_later()

    def _tell_later(self) -> asyncio.TimerHandle:
        # The timer must not keep a plane that everybody forgot.
        tell = weakref.WeakMethod(self._tell_drops)
        return self._loop.call_later(_LOG_EVERY_S, lambda: (found := tell()) and found())

    # -------------------------------------------------------------------------------- rest

    def cpu_seconds(self) -> tuple[float, float]:
        """CPU time of the sending and of the receiving threads so far."""
        spent = ffi.new("uint64_t[2]")
        lib.plane_cpu(self._open(), spent, spent + 1)
        return spent[0] / 1e9, spent[1] / 1e9

    def backlog(self) -> Backlog:
        if not self._close_core.alive:
            return Backlog()
        taken = ffi.new("plane_backlog *")
        lib.plane_take_backlog(self._core, taken)
        return Backlog(
            late_ms=taken.late_s * 1000,
            busy=taken.busy,
            cpu=taken.cpu,
            datagrams=taken.datagrams,
            shed=taken.shed,
        )

    def stats(self) -> PlaneStats:
        if self._close_core.alive:
            counters = ffi.new("plane_counters *")
            lib.plane_read_counters(self._core, counters)
            self._last_stats = PlaneStats(
                packets_sent=counters.packets_sent,
                bytes_sent=counters.bytes_sent,
                packets_received=counters.packets_received,
                bytes_received=counters.bytes_received,
                send_blocked=counters.send_blocked,
                shed=counters.shed,
                retransmitted=counters.retransmitted,
                retransmissions_refused=counters.retransmissions_refused,
                dropped={cause: n for cause in _DROPS if (n := getattr(counters, cause))},
                peers=counters.peers,
                groups=counters.groups,
            )
        return self._last_stats

    async def close(self) -> None:
        if not self._close_core.alive:
            return
        self._telling.cancel()
        self.stats()
        self._loop.remove_reader(self._event_fd)
        self._peers.clear()
        # What is queued for groups still goes out, which can take a moment.
        closing = self._close_core.detach()
        if closing is not None:
            await self._loop.run_in_executor(None, lib.plane_close, self._core)


def _names(credentials: IceCredentials) -> tuple[bytes, bytes]:
    return credentials.local_ufrag.encode(), credentials.local_password.encode()


def _check_index(packet: bytes, index: int) -> None:
    if index & 0xFFFF != int.from_bytes(packet[2:4], "big"):
        raise ValueError("the packet's sequence number is not the low part of its index")


def _address(family: int, ip: bytes, port: int, scope: int) -> Address:
    if family == 4:
        return ".".join(map(str, ip[:4])), port
    host = str(ipaddress.IPv6Address(ip))
    return (f"{host}%{scope}" if scope else host), port


async def open_native_plane(
    hosts: list[str],
    port: int,
    *,
    consent_timeout_s: float,
    threads: int = 0,
    openssl_only: bool = False,
) -> Plane:
    """Bind one UDP socket per host, all on the same port number, and start the core's threads.

    `hosts` and `port` as for `open_python_plane`, and the same errors. `threads` is how many
    threads send (0: one a core). `openssl_only` leaves out the code for this processor, for
    tests of what other machines run.
    """
    sockets = bind_sockets(hosts, port)
    options = ffi.new("plane_options *")
    options.sending_threads = threads
    options.consent_timeout_s = consent_timeout_s
    options.history_s = HISTORY_S
    options.retransmit_rate = options.retransmit_burst = NACKS_PER_S
    options.queue_bytes = QUEUE_BYTES
    options.plain_crypto = openssl_only
    bound: int = sockets[0].getsockname()[1]
    core = lib.plane_open([sock.fileno() for sock in sockets], len(sockets), options)
    if core == ffi.NULL:
        for sock in sockets:
            sock.close()
        raise OSError(ffi.errno, "the native data plane could not start")
    for sock in sockets:
        sock.detach()
    return NativePlane(core, bound)
