"""A WebRTC client for tests: one UDP socket, connectivity checks, DTLS, SRTP both ways.

Built from aioice's STUN and aiortc's DTLS transport, so what it agrees with is an independent
implementation. It connects on loopback, which `RTCPeerConnection` refuses.

    peer = await TestPeer.open(("127.0.0.1", port))
    answer = ...                       # what the server says to peer.offer("listen")
    peer.accept(answer)
    await peer.connect()               # a nominating check, then the DTLS handshake
    packet = await peer.next_rtp()
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from typing import Any

import aioice.stun as stun
import pylibsrtp
from aiortc.rtcdtlstransport import (
    SRTP_PROFILES,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
)
from aiortc.sdp import SessionDescription

from media.plane import Address, IceCredentials, SrtpKeys, SrtpProfile

AUDIO_LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

_LIBSRTP = {
    SrtpProfile.AEAD_AES_256_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
    SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AES128_CM_HMAC_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


def srtp_session(profile: SrtpProfile, key: bytes, direction: int) -> pylibsrtp.Session:
    """A libsrtp session for one direction (`pylibsrtp.Policy.SSRC_ANY_…`)."""
    policy = pylibsrtp.Policy(key=key, ssrc_type=direction, srtp_profile=_LIBSRTP[profile])
    policy.allow_repeat_tx = True
    policy.window_size = 1024
    return pylibsrtp.Session(policy)


def random_keys(profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM) -> SrtpKeys:
    """Keys as a handshake would give them."""
    length = profile.key_length + profile.salt_length
    return SrtpKeys(profile, secrets.token_bytes(length), secrets.token_bytes(length))


class _Transport:
    """What RTCDtlsTransport wants of the transport under it."""

    role = "controlling"

    def __init__(self, peer: TestPeer) -> None:
        self.peer = peer
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def _recv(self) -> bytes:
        data = await self.queue.get()
        if data is None:
            raise ConnectionError
        return data

    async def _send(self, data: bytes) -> None:
        self.peer.send_raw(data)


class TestPeer(asyncio.DatagramProtocol):
    """See the module's text. `rtp` and `rtcp` queue what arrives, in plaintext; `undecryptable`
    counts SRTP that could not be read; the next `to_lose` SRTP packets are thrown away and counted
    in `lost`; `strays` came from another address than the server's; `datagrams` keeps DTLS
    records when `keep_dtls` is set."""

    __test__ = False

    def __init__(self, server: Address, certificate: RTCCertificate | None) -> None:
        self.server = server
        self.ufrag = secrets.token_hex(4)
        self.password = secrets.token_hex(16)
        self.server_ufrag = ""
        self.server_password = ""
        self.server_parameters = RTCDtlsParameters()
        self.certificate = certificate or RTCCertificate.generateCertificate()
        self.rtp: asyncio.Queue[bytes] = asyncio.Queue()
        self.rtcp: asyncio.Queue[bytes] = asyncio.Queue()
        self.datagrams: asyncio.Queue[bytes] = asyncio.Queue()
        self.keep_dtls = False
        self.undecryptable = 0
        self.to_lose = 0
        self.lost = 0
        self.strays = 0
        self.stun_received = 0
        self._answers: dict[bytes, asyncio.Future[stun.Message]] = {}
        self._shim = _Transport(self)
        self.dtls = RTCDtlsTransport(self._shim, [self.certificate])  # type: ignore[arg-type]
        self.dtls._set_role("client")
        self._udp: asyncio.DatagramTransport | None = None
        self._receive: pylibsrtp.Session | None = None
        self._send: pylibsrtp.Session | None = None
        self._keep_alive: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        server: Address,
        *,
        local: Address | None = None,
        certificate: RTCCertificate | None = None,
        profiles: list[SrtpProfile] | None = None,
    ) -> TestPeer:
        """Bind a socket towards `server`. `profiles` restricts what DTLS offers for SRTP."""
        peer = cls(server, certificate)
        if profiles is not None:
            names = {profile.openssl_name.encode() for profile in profiles}
            peer.dtls._srtp_profiles = [p for p in SRTP_PROFILES if p.openssl_profile in names]
        await peer._bind(local)
        return peer

    async def _bind(self, local: Address | None = None) -> None:
        any_host = "::1" if ":" in self.server[0] else "127.0.0.1"
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: self, local_addr=local or (any_host, 0)
        )

    async def move(self) -> None:
        """Go on from another local port, as after a change of network."""
        assert self._udp is not None
        self._udp.close()
        await self._bind()

    @property
    def address(self) -> Address:
        """The local address."""
        assert self._udp is not None
        host, port = self._udp.get_extra_info("sockname")[:2]
        return host, port

    # --------------------------------------------------------------------------------- SDP

    def offer(
        self,
        kind: str,
        *,
        sections: int = 1,
        payload_type: int = 111,
        setup: str = "actpass",
        nack: bool = False,
    ) -> str:
        """An offer much as a browser makes it: `kind` is "publish" or "listen"."""
        direction = "sendonly" if kind == "publish" else "recvonly"
        mids = " ".join(str(mid) for mid in range(sections))
        session = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n"
        fingerprints = "".join(
            f"a=fingerprint:{f.algorithm} {f.value}\r\n"
            for f in self.dtls.getLocalParameters().fingerprints
            if f.algorithm == "sha-256"
        )
        return session + "".join(
            f"m=audio 9 UDP/TLS/RTP/SAVPF {payload_type} 0\r\nc=IN IP4 0.0.0.0\r\n"
            f"a=ice-ufrag:{self.ufrag}\r\na=ice-pwd:{self.password}\r\na=ice-options:trickle\r\n"
            f"{fingerprints}a=setup:{setup}\r\na=mid:{mid}\r\na=extmap:1 {AUDIO_LEVEL}\r\n"
            f"a={direction}\r\na=rtcp-mux\r\n"
            f"a=rtpmap:{payload_type} opus/48000/2\r\n"
            + (f"a=rtcp-fb:{payload_type} nack\r\n" if nack else "")
            + f"a=fmtp:{payload_type} minptime=10;useinbandfec=1\r\na=rtpmap:0 PCMU/8000\r\n"
            for mid in range(sections)
        )

    def accept(self, answer: str) -> None:
        """Take the server's credentials, fingerprints and DTLS role from its answer. The
        address stays the one given at `open`."""
        section = next(m for m in SessionDescription.parse(answer).media if m.port)
        assert section.ice is not None
        assert section.dtls is not None
        self.server_ufrag = section.ice.usernameFragment or ""
        self.server_password = section.ice.password or ""
        self.server_parameters = section.dtls
        self.dtls._set_role("client" if section.dtls.role == "server" else "server")

    def use_credentials(self, ours: IceCredentials) -> None:
        """Without SDP: take both sides' credentials from the server's point of view."""
        self.server_ufrag, self.server_password = ours.local_ufrag, ours.local_password
        self.ufrag, self.password = ours.remote_ufrag, ours.remote_password

    # --------------------------------------------------------------------------------- ICE

    def check_message(self, *, nominate: bool = True, controlled: bool = False) -> stun.Message:
        """A connectivity check, not yet signed."""
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{self.server_ufrag}:{self.ufrag}"
        message.attributes["PRIORITY"] = 2130706431
        role = "ICE-CONTROLLED" if controlled else "ICE-CONTROLLING"
        message.attributes[role] = secrets.randbits(64)
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        return message

    async def exchange(
        self, message: stun.Message, *, sign: bool = True, tries: int = 10, wait_s: float = 0.3
    ) -> stun.Message:
        """Send until answered; TimeoutError when nothing comes. The answer's integrity is
        checked."""
        if sign:
            message.add_message_integrity(self.server_password.encode())
        answer: asyncio.Future[stun.Message] = asyncio.get_running_loop().create_future()
        self._answers[message.transaction_id] = answer
        try:
            for _ in range(tries):
                self.send_raw(bytes(message))
                with contextlib.suppress(TimeoutError):
                    received = await asyncio.wait_for(asyncio.shield(answer), wait_s)
                    assert received.check_message_integrity(self.server_password.encode())
                    assert "FINGERPRINT" in received.attributes
                    return received
        finally:
            del self._answers[message.transaction_id]
        raise TimeoutError("the server does not answer the check")

    async def check(self, *, nominate: bool = True) -> stun.Message:
        """One connectivity check; its answer."""
        return await self.exchange(self.check_message(nominate=nominate))

    def keep_alive(self, every_s: float = 5.0) -> None:
        """Refresh consent in the background until `close`."""

        async def run() -> None:
            while True:
                await asyncio.sleep(every_s)
                with contextlib.suppress(TimeoutError):
                    await self.check()

        self._keep_alive = asyncio.create_task(run())

    # -------------------------------------------------------------------------- DTLS, SRTP

    async def connect(self, timeout_s: float = 20.0) -> None:
        """Check with USE-CANDIDATE, then the handshake. ConnectionError where DTLS fails."""
        await self.check()
        await self.handshake(timeout_s)

    async def handshake(self, timeout_s: float = 20.0) -> None:
        """DTLS, and SRTP from its keys."""
        await asyncio.wait_for(self.dtls.start(self.server_parameters), timeout_s)
        if self.dtls.state != "connected":
            raise ConnectionError(f"DTLS is {self.dtls.state}")
        self._receive, self._send = self.dtls._rx_srtp, self.dtls._tx_srtp

    def restrict_ciphers(self, names: bytes) -> None:
        """Offer these cipher suites alone, by OpenSSL's names."""
        create = self.certificate._create_ssl_context

        def restricted(srtp_profiles: list[Any]) -> Any:
            context = create(srtp_profiles)
            context.set_cipher_list(names)
            return context

        self.certificate._create_ssl_context = restricted  # type: ignore[method-assign]

    def expect_fingerprints(self, fingerprints: list[tuple[str, str]]) -> None:
        """Without SDP: the certificate that the server will show."""
        self.server_parameters = RTCDtlsParameters(
            [RTCDtlsFingerprint(*fingerprint) for fingerprint in fingerprints]
        )

    def use_keys(self, keys: SrtpKeys) -> None:
        """Without DTLS: the server's keys, mirrored."""
        policy = pylibsrtp.Policy
        self._receive = srtp_session(keys.profile, keys.send, policy.SSRC_ANY_INBOUND)
        self._send = srtp_session(keys.profile, keys.receive, policy.SSRC_ANY_OUTBOUND)

    def protect(self, packet: bytes) -> bytes:
        """An RTP packet as it would be sent."""
        assert self._send is not None
        protected: bytes = self._send.protect(packet)
        return protected

    def send_rtp(self, packet: bytes) -> None:
        self.send_raw(self.protect(packet))

    def send_rtcp(self, packet: bytes) -> None:
        assert self._send is not None
        self.send_raw(self._send.protect_rtcp(packet))

    def send_raw(self, data: bytes) -> None:
        """One datagram as it is."""
        assert self._udp is not None
        self._udp.sendto(data, self.server)

    async def next_rtp(self, timeout_s: float = 5.0) -> bytes:
        return await asyncio.wait_for(self.rtp.get(), timeout_s)

    async def next_rtcp(self, timeout_s: float = 5.0) -> bytes:
        return await asyncio.wait_for(self.rtcp.get(), timeout_s)

    # -------------------------------------------------------------------------------- UDP

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if addr[:2] != self.server:
            self.strays += 1  # RFC 8445 wants symmetry, and browsers hold to it
        elif data[0] < 4:
            self.stun_received += 1
            message = stun.parse_message(data)
            answer = self._answers.get(message.transaction_id)
            if answer is not None and not answer.done():
                answer.set_result(message)
        elif 20 <= data[0] <= 63:
            if self.keep_dtls:
                self.datagrams.put_nowait(data)
            else:
                self._shim.queue.put_nowait(data)
        elif self.to_lose:
            self.to_lose -= 1
            self.lost += 1
        elif self._receive is not None:
            is_rtcp = 192 <= data[1] <= 223
            unprotect = self._receive.unprotect_rtcp if is_rtcp else self._receive.unprotect
            try:
                plain = unprotect(data)
            except pylibsrtp.Error:
                self.undecryptable += 1
            else:
                (self.rtcp if is_rtcp else self.rtp).put_nowait(plain)

    async def close(self) -> None:
        """Say goodbye in DTLS where there was a handshake, and close the socket."""
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        await self.dtls.stop()
        self._shim.queue.put_nowait(None)
        if self._udp is not None:
            self._udp.close()


def open_socket() -> socket.socket:
    """A plain UDP socket on loopback, for bytes that no client would send."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock
