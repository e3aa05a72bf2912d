"""Many listeners in one process: the media half of the load generator.

Each listener is a real one to the server: its own address in 127.0.0.0/8, ICE credentials,
connectivity and consent checks (RFC 8445, RFC 7675), DTLS handshake (RFC 5764) and SRTP keys. What
listeners receive is counted natively (`native/sink.c`) by sequence number; a sample of
them decrypts every packet and verifies the sound against what `TestSpeech` sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
import os
import secrets
import socket
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pylibsrtp
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate, certificate_digest
from OpenSSL import SSL

from media._sink import ffi, lib

STUN, DTLS, RTP, RTCP = range(4)
CHECK_INTERVAL_S = 8.0
REPORT_INTERVAL_S = 5.0
"""Browsers report on sound about as often."""
UPKEEP = b"swarm-upkeep"
"""Transaction of the checks that are sent natively; answers to it are only counted."""
_PROFILES = [b"SRTP_AEAD_AES_256_GCM", b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"]
_COOKIE = 0x2112A442
_RECORD = struct.Struct("<IIQ")

OFFER = """v=0\r
o=- {session} 1 IN IP4 127.0.0.1\r
s=-\r
t=0 0\r
a=group:BUNDLE {mids}\r
a=msid-semantic: WMS\r
{media}"""
OFFER_MEDIA = """m=audio 9 UDP/TLS/RTP/SAVPF 111\r
c=IN IP4 0.0.0.0\r
a=rtcp:9 IN IP4 0.0.0.0\r
a=ice-ufrag:{ufrag}\r
a=ice-pwd:{password}\r
a=fingerprint:sha-256 {fingerprint}\r
a=setup:active\r
a=mid:{mid}\r
{extra}a={direction}\r
a=rtcp-mux\r
a=rtpmap:111 opus/48000/2\r
a=rtcp-fb:111 nack\r
a=fmtp:111 minptime=10;useinbandfec=1\r
"""


def stun_check(ufrags: str, password: bytes, transaction: bytes, tie_breaker: int) -> bytes:
    """A binding request of a controlling agent that nominates (RFC 8445, section 7.2.2)."""
    name = ufrags.encode()
    body = struct.pack("!HH", 0x0006, len(name)) + name + bytes(-len(name) % 4)
    body += struct.pack("!HHI", 0x0024, 4, 0x6E7F1EFF)
    body += struct.pack("!HHQ", 0x802A, 8, tie_breaker)
    body += struct.pack("!HH", 0x0025, 0)
    return _seal(0x0001, body, password, transaction)


def stun_answer(password: bytes, transaction: bytes, address: tuple[str, int]) -> bytes:
    """The success response to a peer's own check (peers that are not ICE-lite make them)."""
    port = address[1] ^ (_COOKIE >> 16)
    ip = int(ipaddress.IPv4Address(address[0])) ^ _COOKIE
    body = struct.pack("!HHBBHI", 0x0020, 8, 0, 1, port, ip)
    return _seal(0x0101, body, password, transaction)


def _seal(kind: int, body: bytes, password: bytes, transaction: bytes) -> bytes:
    head = struct.pack("!HHI", kind, len(body) + 24, _COOKIE) + transaction
    digest = hmac.digest(password, head + body, "sha1")
    body += struct.pack("!HH", 0x0008, 20) + digest
    head = struct.pack("!HHI", kind, len(body) + 8, _COOKIE) + transaction
    crc = zlib.crc32(head + body) ^ 0x5354554E
    return head + body + struct.pack("!HHI", 0x8028, 4, crc)


@dataclass(frozen=True)
class Answer:
    """What a listener needs of an SDP answer."""

    ufrag: str
    password: str
    address: str
    port: int

    @classmethod
    def parse(cls, sdp: str) -> Answer:
        """Raises ValueError where the answer has no credentials or no IPv4 UDP candidate."""
        values: dict[str, str] = {}
        for line in sdp.splitlines():
            key, _, value = line.partition(":")
            if key == "a=candidate" and "address" not in values:
                bits = value.split()
                if len(bits) > 5 and bits[2].lower() == "udp" and ":" not in bits[4]:
                    values["address"], values["port"] = bits[4], bits[5]
            elif key.startswith("a="):
                values.setdefault(key, value.strip())
        try:
            return cls(
                values["a=ice-ufrag"], values["a=ice-pwd"], values["address"], int(values["port"])
            )
        except KeyError as error:
            raise ValueError(f"the answer has no {error}") from None


class SwarmPort:
    """One UDP socket with an address for each of `clients` listeners, from `first_address` on.

    Raises OSError where it cannot be opened.
    """

    def __init__(self, first_address: str, clients: int, receive_buffer: int = 64 << 20) -> None:
        self.first = int(ipaddress.IPv4Address(first_address))
        self.clients = clients
        self._records, self._pass = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._records, self._pass):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self._sink = lib.sink_open(self.first, clients, receive_buffer, self._pass.fileno())
        if self._sink == ffi.NULL:
            raise OSError(ffi.errno, f"the load generator's socket: {os.strerror(ffi.errno)}")
        self._out = ffi.new("sink_client *")
        self._totals = ffi.new("sink_totals *")
        self.port: int = lib.sink_port(self._sink)
        self.receive_buffer: int = lib.sink_buffer(self._sink)
        self.handlers: dict[int, Callable[[int, int, bytes], None]] = {}
        asyncio.get_running_loop().add_reader(self._records.fileno(), self._read)
        lib.sink_upkeep(self._sink, int(1000 * CHECK_INTERVAL_S), int(1000 * REPORT_INTERVAL_S))

    def address_of(self, client: int) -> str:
        return str(ipaddress.IPv4Address(self.first + client))

    def _read(self) -> None:
        for _ in range(64):
            try:
                record = self._records.recv(2048)
            except (BlockingIOError, InterruptedError):
                return
            client, kind, at = _RECORD.unpack_from(record)
            handler = self.handlers.get(client)
            if handler is not None:
                handler(kind, at, record[_RECORD.size :])

    def send(self, client: int, to: tuple[str, int], data: bytes) -> int:
        """0, or the negative errno."""
        address = int.from_bytes(socket.inet_aton(to[0]), "big")
        result: int = lib.sink_send(self._sink, client, address, to[1], data, len(data))
        return result

    def keep(
        self, client: int, to: tuple[str, int], check: bytes, profile: int, key: bytes, ssrc: int
    ) -> None:
        """Go on sending the listener's consent checks and receiver reports, natively."""
        address = int.from_bytes(socket.inet_aton(to[0]), "big")
        if lib.sink_keep(self._sink, client, address, to[1], check, len(check), profile, key, ssrc):
            raise ValueError("the keys do not fit their profile")

    def release(self, client: int) -> None:
        lib.sink_release(self._sink, client)

    def sample(self, client: int, on: bool = True) -> None:
        lib.sink_sample(self._sink, client, on)

    def reset(self) -> None:
        """Start counting anew for everybody."""
        for client in range(self.clients):
            lib.sink_reset(self._sink, client)

    def read(self, client: int) -> dict[str, int]:
        """Packets, loss and gaps of one listener; times in ns of CLOCK_MONOTONIC."""
        lib.sink_read(self._sink, client, self._out)
        return {name: int(getattr(self._out, name)) for name, _ in _CLIENT_FIELDS}

    def totals(self) -> dict[str, int]:
        lib.sink_sum(self._sink, self._totals)
        return {name: int(getattr(self._totals, name)) for name, _ in _TOTALS_FIELDS}

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._records.fileno())
        lib.sink_close(self._sink)
        self._records.close()
        self._pass.close()


_CLIENT_FIELDS = ffi.typeof("sink_client").fields
_TOTALS_FIELDS = ffi.typeof("sink_totals").fields


class SwarmCertificate:
    """One certificate and SSL context for every listener of the process: DTLS 1.2, as browsers."""

    def __init__(self) -> None:
        certificate = RTCCertificate.generateCertificate()
        self.context = certificate._create_ssl_context(SRTP_PROFILES)
        self.fingerprint = certificate_digest(certificate._cert, "sha-256")


class SwarmPeer:
    """One participant's transport: ICE, DTLS, and for sampled listeners SRTP."""

    def __init__(self, port: SwarmPort, client: int, certificate: SwarmCertificate) -> None:
        self._port = port
        self.client = client
        self._certificate = certificate
        self.ufrag = secrets.token_hex(4)
        self.password = secrets.token_hex(12)
        self._answer: Answer | None = None
        self._tie_breaker = secrets.randbits(64)
        self._inbox: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self.on_rtp: Callable[[bytes, int], None] | None = None
        self._receive: pylibsrtp.Session | None = None
        self._transmit: pylibsrtp.Session | None = None
        self.undecryptable = 0
        port.handlers[client] = self._record

    def offer(self, direction: str = "recvonly", sections: int = 3, extra: str = "") -> str:
        media = "".join(
            OFFER_MEDIA.format(
                ufrag=self.ufrag,
                password=self.password,
                fingerprint=self._certificate.fingerprint,
                mid=mid,
                direction=direction,
                extra=extra,
            )
            for mid in range(sections)
        )
        mids = " ".join(map(str, range(sections)))
        return OFFER.format(session=secrets.randbits(62), mids=mids, media=media)

    @property
    def _remote(self) -> tuple[str, int]:
        assert self._answer is not None
        return self._answer.address, self._answer.port

    def _record(self, kind: int, at_ns: int, data: bytes) -> None:
        if kind == RTP:
            if self._receive is None or self.on_rtp is None:
                return
            try:
                packet = self._receive.unprotect(data)
            except pylibsrtp.Error:
                self.undecryptable += 1
                return
            self.on_rtp(packet, at_ns)
        elif kind == STUN and data[:2] == b"\x00\x01":
            answer = stun_answer(self.password.encode(), data[8:20], self._remote)
            self._port.send(self.client, self._remote, answer)
        elif kind in (STUN, DTLS):
            self._inbox.put_nowait((kind, data))

    def _check(self, transaction: bytes) -> bytes:
        assert self._answer is not None
        return stun_check(
            f"{self._answer.ufrag}:{self.ufrag}",
            self._answer.password.encode(),
            transaction,
            self._tie_breaker,
        )

    async def connect(self, answer: str, timeout_s: float = 15.0, sampled: bool = False) -> None:
        """ICE, then DTLS as the client; from then on checks and reports go out by themselves.
        `sampled` keeps keys in Python, to hear or to speak. Raises TimeoutError, ValueError (the
        answer) or ConnectionError (the handshake)."""
        self._answer = Answer.parse(answer)
        async with asyncio.timeout(timeout_s):
            await self._ice()
            await self._dtls(sampled)

    async def _ice(self) -> None:
        transaction = os.urandom(12)
        while True:
            self._port.send(self.client, self._remote, self._check(transaction))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while True:
                        kind, data = await self._inbox.get()
                        if kind == STUN and data[:2] == b"\x01\x01" and data[8:20] == transaction:
                            return

    async def _dtls(self, keep_keys: bool) -> None:
        connection = SSL.Connection(self._certificate.context)
        connection.set_connect_state()
        while True:
            try:
                connection.do_handshake()
                break
            except SSL.WantReadError:
                pass
            except SSL.Error as error:
                raise ConnectionError(f"the DTLS handshake failed: {error}") from None
            self._flush(connection)
            try:
                async with asyncio.timeout(connection.DTLSv1_get_timeout() or 1.0):
                    kind, data = await self._inbox.get()
                if kind == DTLS:
                    connection.bio_write(data)
            except TimeoutError:
                connection.DTLSv1_handle_timeout()
        self._flush(connection)
        self._key(connection, keep_keys)

    def _flush(self, connection: SSL.Connection) -> None:
        with contextlib.suppress(SSL.WantReadError):
            while data := connection.bio_read(1500):
                self._port.send(self.client, self._remote, data)

    def _key(self, connection: SSL.Connection, keep: bool) -> None:
        chosen = connection.get_selected_srtp_profile()
        profile = next(p for p in SRTP_PROFILES if p.openssl_profile == chosen)
        material = connection.export_keying_material(
            b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
        )
        own, theirs = (profile.get_key_and_salt(material, index) for index in (0, 1))
        check = self._check(UPKEEP)
        number = _PROFILES.index(profile.openssl_profile)
        self._port.keep(self.client, self._remote, check, number, own, secrets.randbits(32))
        if keep:
            types = pylibsrtp.Policy.SSRC_ANY_OUTBOUND, pylibsrtp.Policy.SSRC_ANY_INBOUND
            self._transmit = _session(profile.libsrtp_profile, own, types[0])
            self._receive = _session(profile.libsrtp_profile, theirs, types[1])

    def send_rtp(self, packet: bytes) -> None:
        assert self._transmit is not None, "connect with sampled=True to send"
        self._port.send(self.client, self._remote, self._transmit.protect(packet))

    def close(self) -> None:
        self._port.handlers.pop(self.client, None)
        self._port.release(self.client)
        self._port.sample(self.client, False)


def _session(profile: int, key: bytes, ssrc_type: int) -> pylibsrtp.Session:
    policy = pylibsrtp.Policy(key=key, ssrc_type=ssrc_type, srtp_profile=profile)
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


LEVEL_EXTENSION = 1
MAGIC = b"swrm"
SPEECH_HEADER = struct.Struct("!B4sHIQ")
TOC = 0xF8  # CELT, fullband, 20 ms, mono, one frame


class TestSpeech:
    """Sound that can be recognised again: each 20 ms Opus frame names its speaker, its number
    and when it was sent (ns of CLOCK_MONOTONIC), and ends in bytes derived from these."""

    __test__ = False

    def __init__(self, speaker: int, size: int = 80) -> None:
        self.speaker = speaker
        self.size = size
        self.ssrc = secrets.randbits(32)
        self.sent = 0

    @property
    def attributes(self) -> str:
        """Lines for the audio section of the offer that publishes this."""
        return (
            f"a=extmap:{LEVEL_EXTENSION} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
            f"a=ssrc:{self.ssrc} cname:swarm\r\n"
        )

    def packet(self, level_dbov: int) -> bytes:
        """The next RTP packet, payload type 111, with an RFC 6464 level."""
        head = struct.pack(
            "!BBHII", 0x90, 111, self.sent & 0xFFFF, self.sent * 960 & 0xFFFFFFFF, self.ssrc
        )
        extension = struct.pack(
            "!HHBBxx", 0xBEDE, 1, LEVEL_EXTENSION << 4, 0x80 | level_dbov & 0x7F
        )
        payload = SPEECH_HEADER.pack(TOC, MAGIC, self.speaker, self.sent, time.monotonic_ns())
        self.sent += 1
        return head + extension + payload + filler(payload, self.size - len(payload))


def filler(header: bytes, size: int) -> bytes:
    """Bytes that only the right header and the right size give."""
    return hashlib.shake_128(header + size.to_bytes(2, "big")).digest(size)


@dataclass(frozen=True)
class HeardFrame:
    speaker: int
    number: int
    sent_ns: int


def recognise(frame: bytes) -> HeardFrame | None:
    """The frame that `TestSpeech` sent, given with or without its TOC byte; None where it is not
    whole."""
    if len(frame) >= 4 and frame[:4] == MAGIC:
        frame = bytes([TOC]) + frame
    if len(frame) < SPEECH_HEADER.size:
        return None
    _, magic, speaker, number, sent_ns = SPEECH_HEADER.unpack_from(frame)
    size = SPEECH_HEADER.size
    if magic != MAGIC or frame[size:] != filler(frame[:size], len(frame) - size):
        return None
    return HeardFrame(speaker, number, sent_ns)
