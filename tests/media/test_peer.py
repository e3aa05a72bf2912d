"""DTLS sessions against aiortc's, through a real plane on loopback."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters

from media.dtls_tail import CHANGE_CIPHER
from media.peer import (
    MAX_HANDSHAKE_DATAGRAMS,
    MTU,
    Certificate,
    Fingerprint,
    Peer,
    pack_records,
    strongest,
)
from media.plane import Address, Plane, SrtpProfile
from media.sdp import AnswerSection, make_answer, parse_offer
from tests.media.client import TestPeer
from tests.media.conftest import OpenPlane, new_credentials

CERTIFICATE = Certificate.generate()


@dataclass
class Server:
    """The plane's listener: hands DTLS to the peer, keeps the sound."""

    plane: Plane
    peers: dict[int, Peer] = field(default_factory=dict)
    connected: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    closed: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    rtp: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    clients: list[TestPeer] = field(default_factory=list)

    def address_validated(self, peer: int, address: Address, now: float) -> None:
        self.peers[peer].start()

    def datagram_received(self, peer: int, data: bytes, now: float) -> None:
        self.peers[peer].datagram_received(data)

    def rtp_received(self, peer: int, packet: bytes, now: float) -> None:
        self.rtp.put_nowait(packet)

    def rtcp_received(self, peer: int, packet: bytes, now: float) -> None: ...

    def peer_expired(self, peer: int, now: float) -> None: ...

    async def invite(
        self,
        *,
        role: str = "server",
        profiles: list[SrtpProfile] | None = None,
        fingerprints: list[Fingerprint] | None = None,
        timeout_s: float = 15.0,
    ) -> tuple[int, TestPeer]:
        """A peer and its client, introduced to each other, before the first check."""
        credentials = new_credentials()
        handle = self.plane.add_peer(credentials)
        client = await TestPeer.open(("127.0.0.1", self.plane.port), profiles=profiles)
        self.clients.append(client)
        client.use_credentials(credentials)
        client.expect_fingerprints(CERTIFICATE.fingerprints)
        client.dtls._set_role("client" if role == "server" else "server")
        if fingerprints is None:
            theirs = client.dtls.getLocalParameters().fingerprints
            fingerprints = [(f.algorithm, f.value) for f in theirs]
        self.peers[handle] = Peer(
            self.plane,
            handle,
            CERTIFICATE,
            fingerprints,
            "server" if role == "server" else "client",
            on_connected=lambda: self.connected.put_nowait(handle),
            on_closed=self.closed.put_nowait,
            handshake_timeout_s=timeout_s,
        )
        return handle, client


@pytest.fixture
async def server(open_plane: OpenPlane) -> AsyncIterator[Server]:
    plane = await open_plane(["127.0.0.1"], 0, consent_timeout_s=30.0)
    server = Server(plane)
    plane.set_listener(server)
    yield server
    for client in server.clients:
        await client.close()
    for peer in server.peers.values():
        peer.close()
    await plane.close()


def packet(sequence: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 111, sequence, sequence * 960, 77) + b"opus"


async def both_ways(server: Server, handle: int, client: TestPeer) -> None:
    client.send_rtp(packet(1))
    assert await asyncio.wait_for(server.rtp.get(), 5) == packet(1)
    server.plane.send_rtp(handle, packet(9), 9)
    assert await client.next_rtp() == packet(9)


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize("profile", list(SrtpProfile))
async def test_a_handshake_gives_both_sides_the_same_keys(
    server: Server, profile: SrtpProfile, role: str
) -> None:
    handle, client = await server.invite(profiles=[profile], role=role)
    await client.connect()
    assert await asyncio.wait_for(server.connected.get(), 5) == handle
    assert server.peers[handle].state == "connected"
    await both_ways(server, handle, client)


async def test_the_first_choice_is_256_bit_gcm(server: Server) -> None:
    handle, client = await server.invite()
    await client.connect()
    assert client.dtls._ssl is not None
    assert client.dtls._ssl.get_selected_srtp_profile() == b"SRTP_AEAD_AES_256_GCM"
    await asyncio.wait_for(server.connected.get(), 5)
    await both_ways(server, handle, client)


async def test_a_hello_before_the_nomination_is_enough(server: Server) -> None:
    handle, client = await server.invite()
    await client.check(nominate=False)
    await client.handshake()
    assert await asyncio.wait_for(server.connected.get(), 5) == handle
    await client.check()
    await both_ways(server, handle, client)


async def test_a_wrong_certificate_is_refused_with_the_reason(server: Server) -> None:
    wrong = [("sha-256", ":".join(["AB"] * 32))]
    handle, client = await server.invite(fingerprints=wrong)
    await client.check()
    handshake = asyncio.create_task(client.handshake())
    reason = await asyncio.wait_for(server.closed.get(), 5)
    assert "fingerprint" in reason
    assert server.peers[handle].state == "closed"
    assert server.connected.empty()
    await asyncio.wait({handshake})
    assert handshake.exception() is None or client.dtls.state == "closed"


async def test_one_of_several_fingerprints_of_the_strongest_kind_is_enough(
    server: Server,
) -> None:
    handle, client = await server.invite(fingerprints=[])
    # A client with two certificates offers both; SHA-512 decides where it is offered.
    theirs = [(f.algorithm, f.value.lower()) for f in client.dtls.getLocalParameters().fingerprints]
    wrong = [("SHA-512", ":".join(["00"] * 64)), ("sha-256", ":".join(["00"] * 32))]
    server.peers[handle]._fingerprints = (*wrong, *theirs)
    await client.connect()
    assert await asyncio.wait_for(server.connected.get(), 5) == handle


async def test_close_notify_ends_it_on_both_sides(server: Server) -> None:
    handle, client = await server.invite()
    await client.connect()
    await asyncio.wait_for(server.connected.get(), 5)
    await client.dtls.stop()
    assert "closed the connection" in await asyncio.wait_for(server.closed.get(), 5)
    assert server.peers[handle].state == "closed"
    server.peers[handle].datagram_received(b"\x16late")

    handle, client = await server.invite()
    await client.connect()
    closed = asyncio.Event()
    client.dtls.on("statechange", lambda: client.dtls.state == "closed" and closed.set())
    server.peers[handle].close()
    server.peers[handle].close()
    await asyncio.wait_for(closed.wait(), 5)
    assert server.closed.empty()


@pytest.mark.parametrize(
    ("ciphers", "lean"),
    [
        (b"ECDHE-ECDSA-AES128-GCM-SHA256", True),
        (b"ECDHE-ECDSA-CHACHA20-POLY1305", True),
        (b"ECDHE-ECDSA-AES128-SHA", False),
    ],
)
async def test_every_cipher_suite_closes_from_either_side(
    server: Server, ciphers: bytes, lean: bool
) -> None:
    for theirs in (True, False):
        handle, client = await server.invite()
        client.restrict_ciphers(ciphers)
        await client.connect()
        await asyncio.wait_for(server.connected.get(), 5)
        peer = server.peers[handle]
        await both_ways(server, handle, client)
        # OpenSSL is let go of where what is left can be done without it.
        assert (peer._ssl is None) is lean
        if theirs:
            await client.dtls.stop()
            assert "closed the connection" in await asyncio.wait_for(server.closed.get(), 5)
        else:
            closed = asyncio.Event()
            client.dtls.on("statechange", closed.set)
            peer.close()
            await asyncio.wait_for(closed.wait(), 5)
            assert client.dtls.state == "closed"
    assert server.closed.empty()


async def test_a_lost_last_flight_is_sent_again(server: Server) -> None:
    handle, client = await server.invite()
    await client.check()
    send, lost = server.plane.send_datagram, []

    def lossy(peer: int, data: bytes) -> None:
        if data[0] == CHANGE_CIPHER and not lost:
            lost.append(data)
        else:
            send(peer, data)

    server.plane.send_datagram = lossy  # type: ignore[method-assign]
    await client.handshake()
    assert len(lost) == 1
    assert await asyncio.wait_for(server.connected.get(), 5) == handle
    await both_ways(server, handle, client)


async def test_a_handshake_that_does_not_come_times_out(server: Server) -> None:
    handle, client = await server.invite(timeout_s=0.2)
    await client.check()
    assert "no DTLS handshake" in await asyncio.wait_for(server.closed.get(), 5)
    assert server.peers[handle].state == "closed"


async def test_a_lost_flight_is_sent_again(server: Server) -> None:
    handle, client = await server.invite()
    await client.check()
    # The server's first flight is lost: its own timer sends it again.
    send, lost = server.plane.send_datagram, []

    def lossy(peer: int, data: bytes) -> None:
        if not lost:
            lost.append(data)
        else:
            send(peer, data)

    server.plane.send_datagram = lossy  # type: ignore[method-assign]
    await client.handshake()
    assert await asyncio.wait_for(server.connected.get(), 5) == handle
    assert len(lost) == 1


async def test_garbage_in_the_handshake_and_after_it_harms_nothing(server: Server) -> None:
    handle, client = await server.invite()
    await client.check()
    for garbage in (b"\x16", b"\x16\xfe\xfd" + bytes(10), b"\x17" * 50, b"\x14" + bytes(1400)):
        client.send_raw(garbage)
    await client.handshake()
    assert await asyncio.wait_for(server.connected.get(), 5) == handle
    for garbage in (b"\x16", b"\x15\xfe\xfd" + bytes(10) + b"\x00\x02\x02\x28", b"\x17" * 50):
        client.send_raw(garbage)
    await both_ways(server, handle, client)
    assert server.closed.empty()


async def test_a_flood_in_the_handshake_ends_it(server: Server) -> None:
    handle, client = await server.invite()
    await client.check()
    peer = server.peers[handle]
    assert peer._ssl is None  # nothing was asked yet
    for _ in range(MAX_HANDSHAKE_DATAGRAMS):
        peer.datagram_received(b"\x16\xfe\xfd" + bytes(10))
    assert peer.state == "connecting"
    peer.datagram_received(b"\x16\xfe\xfd" + bytes(10))
    assert "too many datagrams" in server.closed.get_nowait()
    assert peer.state == "closed"


async def test_no_profile_in_common_is_a_reason(server: Server) -> None:
    handle, client = await server.invite()
    client.dtls._srtp_profiles = [
        type(p)(p.libsrtp_profile, b"SRTP_AES128_CM_SHA1_32", p.key_length, p.salt_length)
        for p in client.dtls._srtp_profiles[-1:]
    ]
    await client.check()
    handshake = asyncio.create_task(client.dtls.start(client.server_parameters))
    assert "no SRTP profile" in await asyncio.wait_for(server.closed.get(), 5)
    assert server.peers[handle].state == "closed"
    await handshake


async def test_a_client_that_is_shown_another_certificate_refuses(server: Server) -> None:
    _, client = await server.invite()
    client.server_parameters = RTCDtlsParameters(
        [RTCDtlsFingerprint("sha-256", ":".join(["CD"] * 32))]
    )
    await client.check()
    with pytest.raises(ConnectionError):
        await client.handshake()


async def test_a_real_aiortc_connection_hears_a_slot(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # aioice leaves loopback out of its candidates; a machine may have nothing else.
    monkeypatch.setattr("aioice.ice.get_host_addresses", lambda **_: ["127.0.0.1"])
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue[MediaStreamTrack] = asyncio.Queue()
    connection.on("track", tracks.put_nowait)
    connection.addTransceiver("audio", "recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    offer = parse_offer(connection.localDescription.sdp, kind="listen", max_sections=1)
    credentials = replace(
        new_credentials(), remote_ufrag=offer.ice_ufrag, remote_password=offer.ice_pwd
    )
    handle = server.plane.add_peer(credentials)
    server.peers[handle] = Peer(
        server.plane,
        handle,
        CERTIFICATE,
        offer.fingerprints,
        offer.dtls_role,
        on_connected=lambda: server.connected.put_nowait(handle),
        on_closed=server.closed.put_nowait,
    )
    answer = make_answer(
        offer,
        credentials=credentials,
        fingerprints=CERTIFICATE.fingerprints,
        candidates=[("127.0.0.1", server.plane.port)],
        sections={0: AnswerSection(77, "room", "room slot0")},
        ptime_ms=20,
        maxptime_ms=120,
    )
    await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    assert await asyncio.wait_for(server.connected.get(), 10) == handle
    track = await asyncio.wait_for(tracks.get(), 5)
    payload_type = offer.accepted[0].payload_type
    assert payload_type is not None
    silence = b"\xf8\xff\xfe"
    for sequence in range(20):
        head = struct.pack("!BBHII", 0x80, payload_type, sequence, sequence * 960, 77)
        server.plane.send_rtp(handle, head + silence, sequence)
    frame = await asyncio.wait_for(track.recv(), 5)
    assert frame.sample_rate == 48_000
    await connection.close()
    assert "closed the connection" in await asyncio.wait_for(server.closed.get(), 5)


def test_records_are_packed_whole_into_datagrams() -> None:
    def record(size: int) -> bytes:
        return b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2, "big") + bytes(size)

    records = [record(n) for n in (100, 500, 600, 2, MTU - 13, 5, 5)]
    datagrams = pack_records(b"".join(records))
    assert b"".join(datagrams) == b"".join(records)
    assert [len(d) for d in datagrams] == [626, 628, MTU, 36]
    assert pack_records(b"") == []


def test_the_strongest_hash_is_the_one_that_counts() -> None:
    assert strongest([("sha-1", "x"), ("sha-256", "y")]) == "sha-256"
    assert strongest([("sha-256", "y"), ("SHA-512", "z")]) == "sha-512"
    assert strongest([("md5", "x")]) is None
    assert [a for a, _ in CERTIFICATE.fingerprints] == ["sha-256"]
