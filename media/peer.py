"""One DTLS session with a peer (RFC 5764), from whose handshake the SRTP keys come.

OpenSSL is driven directly, with aiortc's certificates and profile table, and not through
`RTCDtlsTransport`: that one is made for a client with one connection and keeps a task, a queue
and an SSL context per peer. Here a datagram goes in, what OpenSSL answers goes out at once, and
between datagrams there is at most one timer; all peers share one context. After the handshake
the OpenSSL connection, the greater part of a peer's memory, is replaced by `media.dtls_tail`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from typing import Literal

from aiortc.rtcdtlstransport import (
    SRTP_PROFILES,
    X509_DIGEST_ALGORITHMS,
    RTCCertificate,
)
from OpenSSL import SSL

from media.dtls_tail import RECORD_HEADER, Tail, server_tail
from media.plane import PeerHandle, Plane, SrtpKeys, SrtpProfile

logger = logging.getLogger(__name__)

DtlsRole = Literal["client", "server"]
Fingerprint = tuple[str, str]
"""Hash function in lower case (`sha-256`) and value (`AB:CD:…`), RFC 8122."""

HANDSHAKE_TIMEOUT_S = 15.0
MTU = 1200
"""Bytes of UDP payload that a flight of the handshake is cut to."""
MAX_HANDSHAKE_DATAGRAMS = 200
"""What a peer may send until it is connected: some ten times a handshake in small pieces over a
bad line. Who has a session may still not keep OpenSSL busy with it."""

_READ = 16384

_LABEL = b"EXTRACTOR-dtls_srtp"
_PEER_CLOSED = "the peer closed the connection"
_STRENGTH = ("sha-512", "sha-384", "sha-256")
_PROFILES = {profile.openssl_name.encode(): profile for profile in SrtpProfile}


class Certificate:
    """The certificate that every peer is shown, and the SSL context made of it."""

    def __init__(self, certificate: RTCCertificate) -> None:
        self._certificate = certificate

    @classmethod
    def generate(cls) -> Certificate:
        """A new self-signed P-256 certificate, good for 30 days."""
        return cls(RTCCertificate.generateCertificate())

    @functools.cached_property
    def fingerprints(self) -> list[Fingerprint]:
        """What goes into an answer: SHA-256 alone, which everybody understands."""
        return [
            (f.algorithm, f.value)
            for f in self._certificate.getFingerprints()
            if f.algorithm == "sha-256"
        ]

    @functools.cached_property
    def context(self) -> SSL.Context:
        """Shared by all connections; sessions are never resumed."""
        context = self._certificate._create_ssl_context(SRTP_PROFILES)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        return context


class Peer:
    """The session, sans I/O but for one timer: datagrams in through `datagram_received`, out
    through the plane.

    `fingerprints` are those of the peer's offer; its certificate must match one of the
    strongest hash function among them. `role` is the server's own ("server" answers
    `a=setup:passive`). On success the plane is given the keys, then `on_connected()` is called;
    `on_closed(reason)` is called once when the session fails or the peer ends it, and not after
    `close()`. Both are called on the event loop.
    """

    __slots__ = (
        "_certificate",
        "_datagrams",
        "_deadline",
        "_fingerprints",
        "_handle",
        "_handshake_timeout_s",
        "_on_closed",
        "_on_connected",
        "_plane",
        "_role",
        "_ssl",
        "_tail",
        "_timer",
        "state",
    )

    def __init__(
        self,
        plane: Plane,
        handle: PeerHandle,
        certificate: Certificate,
        fingerprints: Sequence[Fingerprint],
        role: DtlsRole = "server",
        *,
        on_connected: Callable[[], None],
        on_closed: Callable[[str], None],
        handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
    ) -> None:
        self._plane = plane
        self._handle = handle
        self._certificate = certificate
        self._fingerprints = tuple(fingerprints)
        self._role: DtlsRole = role
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._handshake_timeout_s = handshake_timeout_s
        self._ssl: SSL.Connection | None = None
        self._tail: Tail | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._datagrams = 0
        self.state: Literal["new", "connecting", "connected", "closed"] = "new"

    def start(self) -> None:
        """Begin the handshake: call when the plane has validated an address. The time that the
        handshake may take counts from here. Later calls do nothing."""
        if self.state != "new":
            return
        self.state = "connecting"
        self._deadline = asyncio.get_running_loop().time() + self._handshake_timeout_s
        if self._role == "client":
            self._open().set_connect_state()
            self._advance()
        else:
            # A server says nothing before it is asked, and needs no OpenSSL until then.
            self._arm()

    def datagram_received(self, data: bytes) -> None:
        """Take one datagram of DTLS records; starts the session when it is new."""
        self.start()
        if self.state == "connecting":
            self._datagrams += 1
            if self._datagrams > MAX_HANDSHAKE_DATAGRAMS:
                self._end("too many datagrams in the handshake")
                return
            if self._ssl is None:
                self._open().set_accept_state()
        if self._ssl is not None and data:
            self._ssl.bio_write(data)
            self._advance()
        elif self._tail is not None:
            if self._tail.ends(data):
                self._end(_PEER_CLOSED)
            elif self._tail.wants_flight(data):
                self._plane.send_datagram(self._handle, self._tail.flight)

    def close(self) -> None:
        """End the session: the peer is sent close_notify. `on_closed` is not called."""
        self._release()

    # ------------------------------------------------------------------------------ inside

    def _open(self) -> SSL.Connection:
        self._ssl = SSL.Connection(self._certificate.context)
        self._ssl.set_ciphertext_mtu(MTU)
        return self._ssl

    def _advance(self) -> None:
        """Let OpenSSL work on what has come, and send what it has to say."""
        ended = ""
        try:
            if self.state == "connecting" and self._ssl is not None:
                self._ssl.do_handshake()
                ended = self._connected(self._ssl)
            while self._ssl is not None and self._tail is None and not ended:
                self._ssl.recv(2048)  # data channels are not ours
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            ended = _PEER_CLOSED
        except SSL.Error as error:
            ended = f"DTLS failed: {_describe(error)}"
        if self._tail is not None:
            self._ssl = None
            self._fingerprints = ()
        else:
            self._flush()
        if ended:
            self._end(ended)
            return
        self._arm()

    def _connected(self, ssl: SSL.Connection) -> str:
        """After the handshake: who is it, and which keys. What is wrong, or nothing."""
        certificate = ssl.get_peer_certificate()
        algorithm = strongest(self._fingerprints)
        if certificate is None or algorithm is None:
            return "the peer's certificate cannot be checked"
        digest = certificate.digest(algorithm.replace("-", "")).decode()
        if all((algorithm, digest) != (a.lower(), v.upper()) for a, v in self._fingerprints):
            return "the peer's certificate does not match the fingerprint in its offer"
        profile = _PROFILES.get(ssl.get_selected_srtp_profile())
        if profile is None:
            return "the peer has no SRTP profile in common with the server"
        key, salt = profile.key_length, profile.salt_length
        material = ssl.export_keying_material(_LABEL, 2 * (key + salt))
        client = material[:key] + material[2 * key : 2 * key + salt]
        server = material[key : 2 * key] + material[2 * key + salt :]
        send, receive = (server, client) if self._role == "server" else (client, server)
        self.state = "connected"
        self._plane.set_keys(self._handle, SrtpKeys(profile, send, receive))
        # The last flight goes out before anything that the caller sends on being told.
        flight = self._flush()
        if self._role == "server" and ssl.get_protocol_version_name() == "DTLSv1.2":
            secrets = ssl.master_key(), ssl.client_random(), ssl.server_random()
            self._tail = server_tail(ssl.get_cipher_name(), *secrets, flight)
        self._on_connected()
        return ""

    def _flush(self) -> bytes:
        """Send what OpenSSL wrote, records packed into datagrams."""
        written = b""
        try:
            while self._ssl is not None:
                written += self._ssl.bio_read(_READ)
                if len(written) % _READ:
                    break
        except SSL.WantReadError:
            pass
        for datagram in pack_records(written):
            self._plane.send_datagram(self._handle, datagram)
        return written

    def _arm(self) -> None:
        """One timer: OpenSSL's retransmission, or the end of the handshake's time."""
        self._disarm()
        wait: float | None = self._ssl.DTLSv1_get_timeout() if self._ssl is not None else None
        loop = asyncio.get_running_loop()
        if self.state == "connecting":
            left = self._deadline - loop.time()
            wait = left if wait is None else min(wait, left)
        if wait is not None:
            self._timer = loop.call_later(max(wait, 0), self._time_is_up)

    def _time_is_up(self) -> None:
        if self.state == "connecting" and asyncio.get_running_loop().time() >= self._deadline:
            self._end(f"no DTLS handshake in {self._handshake_timeout_s:g} s")
            return
        if self._ssl is None:
            return
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as error:
            self._end(f"DTLS failed: {_describe(error)}")
            return
        self._flush()
        self._arm()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _release(self) -> None:
        """Say close_notify where there is a session to close, and let go of everything."""
        self._disarm()
        if self._tail is not None:
            self._plane.send_datagram(self._handle, self._tail.close_notify())
        elif self._ssl is not None:
            try:
                self._ssl.shutdown()
            except SSL.Error as error:
                logger.debug("peer %d: no close_notify: %s", self._handle, _describe(error))
            self._flush()
        self._ssl = self._tail = None
        self.state = "closed"
        # They hold the session, which holds this: nothing may be left to the garbage collector.
        self._on_connected = self._on_closed = _nobody

    def _end(self, reason: str) -> None:
        if self.state != "closed":
            tell = self._on_closed
            self._release()
            tell(reason)


def _nobody(*_: str) -> None:
    """Who is told after the end."""


def strongest(fingerprints: Sequence[Fingerprint]) -> str | None:
    """The strongest hash function among the fingerprints that can be checked (RFC 8122)."""
    offered = {algorithm.lower() for algorithm, _ in fingerprints}
    return next((a for a in _STRENGTH if a in offered and a in X509_DIGEST_ALGORITHMS), None)


def pack_records(written: bytes) -> list[bytes]:
    """Cut a run of DTLS records into datagrams of at most `MTU` bytes, records whole."""
    datagrams: list[bytes] = []
    start = at = 0
    while at < len(written):
        length = int.from_bytes(written[at + 11 : at + RECORD_HEADER], "big")
        end = at + RECORD_HEADER + length
        if end - start > MTU and at > start:
            datagrams.append(written[start:at])
            start = at
        at = end
    if start < len(written):
        datagrams.append(written[start:])
    return datagrams


def _describe(error: SSL.Error) -> str:
    """The reasons that OpenSSL gives, for the log."""
    queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reason for *_, reason in queue if reason) or type(error).__name__
