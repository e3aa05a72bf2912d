"""The planes that the tests of `media.plane` run against."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings

from media.plane import Address, IceCredentials, PeerHandle, Plane, SrtpKeys
from media.plane_py import open_python_plane
from tests.media.client import TestPeer, random_keys

# A busy machine is no reason for a property to fail.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

OpenPlane = Callable[..., Awaitable[Plane]]


def _planes() -> dict[str, OpenPlane]:
    planes: dict[str, OpenPlane] = {"python": open_python_plane}
    with contextlib.suppress(ImportError):  # where the extension was not built
        from media.plane_native import open_native_plane

        planes["native"] = open_native_plane
        planes["native-openssl"] = functools.partial(open_native_plane, openssl_only=True)
    return planes


PLANES = _planes()


@dataclass
class Recorder:
    """A `PlaneListener` that keeps what it is told."""

    validated: list[tuple[PeerHandle, Address]] = field(default_factory=list)
    datagrams: asyncio.Queue[tuple[PeerHandle, bytes]] = field(default_factory=asyncio.Queue)
    rtp: asyncio.Queue[tuple[PeerHandle, bytes]] = field(default_factory=asyncio.Queue)
    rtcp: asyncio.Queue[tuple[PeerHandle, bytes]] = field(default_factory=asyncio.Queue)
    expired: asyncio.Queue[PeerHandle] = field(default_factory=asyncio.Queue)

    def address_validated(self, peer: PeerHandle, address: Address, now: float) -> None:
        self.validated.append((peer, address))

    def datagram_received(self, peer: PeerHandle, data: bytes, now: float) -> None:
        self.datagrams.put_nowait((peer, data))

    def rtp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None:
        self.rtp.put_nowait((peer, packet))

    def rtcp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None:
        self.rtcp.put_nowait((peer, packet))

    def peer_expired(self, peer: PeerHandle, now: float) -> None:
        self.expired.put_nowait(peer)


@dataclass
class Bench:
    """A plane, what it reported, and clients of it."""

    plane: Plane
    heard: Recorder
    clients: list[TestPeer] = field(default_factory=list)

    async def join(
        self, *, host: str = "127.0.0.1", keys: SrtpKeys | None = None, check: bool = True
    ) -> tuple[PeerHandle, TestPeer]:
        """A peer that has been checked and, by default, has random keys on both sides."""
        credentials = new_credentials()
        handle = self.plane.add_peer(credentials)
        client = await TestPeer.open((host, self.plane.port))
        self.clients.append(client)
        client.use_credentials(credentials)
        if check:
            await client.check()
            keys = keys or random_keys()
            self.plane.set_keys(handle, keys)
            client.use_keys(keys)
        return handle, client


def new_credentials() -> IceCredentials:
    return IceCredentials(
        secrets.token_hex(4), secrets.token_hex(16), secrets.token_hex(4), secrets.token_hex(16)
    )


@pytest.fixture(params=sorted(PLANES))
def open_plane(request: pytest.FixtureRequest) -> OpenPlane:
    """`open_plane(hosts, port, *, consent_timeout_s)`, for every kind of plane there is."""
    opener = PLANES[request.param]
    assert callable(opener)
    return opener


@pytest.fixture
async def bench(open_plane: OpenPlane) -> AsyncIterator[Bench]:
    """A plane on loopback, IPv4 and IPv6, with a recorder."""
    plane = await open_plane(["127.0.0.1", "::1"], 0, consent_timeout_s=30.0)
    heard = Recorder()
    plane.set_listener(heard)
    bench = Bench(plane, heard)
    yield bench
    for client in bench.clients:
        await client.close()
    await plane.close()
