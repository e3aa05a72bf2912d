"""Our fan-out beside bare `sendmmsg`: packets per second per core, in one run, alternating.

    python -m bench.fanout [--listeners 30000] [--seconds 20] [--size 100] [--json]

Every listener has its own address in 127.0.0.0/8, checked by a real connectivity check, and its
own keys. One socket stands for all of them and is not read, so the kernel drops what it delivers.
The bare side sends datagrams of the same size to the same addresses, in batches of the same
length, and encrypts nothing. Both figures are packets per second of CPU time of the threads that
send (CLOCK_THREAD_CPUTIME_ID), so other processes on the machine change them little. On loopback
the kernel's receive path runs in the sender's time, in both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import socket
import statistics
import struct
import time
from dataclasses import dataclass
from typing import Any

import aioice.stun as stun

from bench.common import machine, table
from media._native import ffi, lib
from media.plane import (
    Address,
    GroupHandle,
    IceCredentials,
    PeerHandle,
    SrtpKeys,
    SrtpProfile,
)
from media.plane_native import NativePlane, open_native_plane

SSRC = 0x0A0B0C0D
BATCH = 128
"""Datagrams to one system call: the core's own number."""
FIRST_ADDRESS = 0x7F010001
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
ROUNDS = 5
"""Packets to everybody before the other side has its turn."""


class Validated:
    """A `PlaneListener` that counts the listeners whose address is known."""

    def __init__(self) -> None:
        self.count = 0

    def address_validated(self, peer: PeerHandle, address: Address, now: float) -> None:
        self.count += 1

    def datagram_received(self, peer: PeerHandle, data: bytes, now: float) -> None: ...
    def rtp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None: ...
    def rtcp_received(self, peer: PeerHandle, packet: bytes, now: float) -> None: ...
    def peer_expired(self, peer: PeerHandle, now: float) -> None: ...


@dataclass
class Room:
    """The plane, its one group, and where its listeners are."""

    plane: NativePlane
    group: GroupHandle
    sink: socket.socket
    addresses: list[int]
    index: int = 0


def check(credentials: IceCredentials) -> bytes:
    """A nominating connectivity check."""
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    message.attributes["USERNAME"] = f"{credentials.local_ufrag}:{credentials.remote_ufrag}"
    message.attributes["PRIORITY"] = 1
    message.attributes["ICE-CONTROLLING"] = 1
    message.attributes["USE-CANDIDATE"] = None
    message.add_message_integrity(credentials.local_password.encode())
    return bytes(message)


async def fill(listeners: int, threads: int, profile: SrtpProfile, openssl_only: bool) -> Room:
    """A room of so many listeners."""
    plane = await open_native_plane(
        ["0.0.0.0"], 0, consent_timeout_s=3600, threads=threads, openssl_only=openssl_only
    )
    assert isinstance(plane, NativePlane)
    validated = Validated()
    plane.set_listener(validated)
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sink.bind(("0.0.0.0", 0))
    addresses = [FIRST_ADDRESS + i for i in range(listeners)]
    group = plane.add_group()
    length = profile.key_length + profile.salt_length
    for number, address in enumerate(addresses):
        ufrag, password = secrets.token_hex(8), secrets.token_hex(12)
        credentials = IceCredentials(ufrag, password, "remote", "password of the other")
        peer = plane.add_peer(credentials)
        request = check(credentials)
        if lib.bench_send_from(sink.fileno(), address, plane.port, request, len(request)):
            raise OSError(ffi.errno, "a check could not be sent")
        plane.set_keys(
            peer, SrtpKeys(profile, secrets.token_bytes(length), secrets.token_bytes(length))
        )
        plane.join_group(group, peer, 96 + number % 16, {SSRC: number % 1000})
        if number - validated.count > 200:
            await asyncio.sleep(0.001)
    deadline = time.monotonic() + 10
    while validated.count < listeners:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {validated.count} of {listeners} checks arrived")
        await asyncio.sleep(0.01)
    return Room(plane, group, sink, addresses)


def resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def ours(room: Room, size: int) -> float:
    """Send `ROUNDS` packets to everybody; packets that the kernel took per second of CPU. The
    next goes to the core when the one before is out, as the core sheds what is late."""
    plane, count = room.plane, len(room.addresses)
    start, before = plane.stats(), plane.cpu_seconds()[0]
    done = tried = start.packets_sent + start.send_blocked
    for _ in range(ROUNDS):
        room.index += 1
        head = struct.pack("!BBHII", 0x80, 96, room.index & 0xFFFF, room.index * 960, SSRC)
        plane.send_group(room.group, head + random.randbytes(size - 12), room.index)
        done += count
        while tried < done:
            await asyncio.sleep(0.002)
            stats = plane.stats()
            tried = stats.packets_sent + stats.send_blocked
    await asyncio.sleep(0.002)
    return (stats.packets_sent - start.packets_sent) / (plane.cpu_seconds()[0] - before)


def bare(room: Room, fd: int, size: int) -> float:
    """The same number of datagrams by `sendmmsg` alone; packets per second of CPU."""
    spent = ffi.new("uint64_t *")
    count = len(room.addresses)
    ips = ffi.new("uint32_t[]", room.addresses)
    port = room.sink.getsockname()[1]
    sent = lib.bench_sendmmsg(fd, ips, port, count, size, BATCH, ROUNDS, spent)
    if sent != ROUNDS * count:
        raise OSError("bare sendmmsg was refused")
    return float(sent / (spent[0] / 1e9))


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole benchmark."""
    profile = SrtpProfile[arguments.profile]
    before = resident_bytes()
    room = await fill(arguments.listeners, arguments.threads, profile, arguments.openssl_only)
    kb_per_listener = (resident_bytes() - before) / arguments.listeners / 1024
    tag = 10 if profile is SrtpProfile.AES128_CM_HMAC_SHA1_80 else 16
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1024 * 1024)
    # What the core tells the kernel of its socket, this one does too: the bare side gains by it.
    out.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
    out.bind(("127.0.0.1", 0))
    await ours(room, arguments.size)
    bare(room, out.fileno(), arguments.size + tag)
    pairs: list[tuple[float, float]] = []
    deadline = time.monotonic() + arguments.seconds
    while len(pairs) < 3 or time.monotonic() < deadline:
        pairs.append(
            (await ours(room, arguments.size), bare(room, out.fileno(), arguments.size + tag))
        )
    stats = room.plane.stats()
    result = {
        "listeners": arguments.listeners,
        "profile": profile.name,
        "datagram_bytes": arguments.size + tag,
        "turns": len(pairs),
        "pps_per_core": round(statistics.median(mine for mine, _ in pairs)),
        "sendmmsg_pps_per_core": round(statistics.median(other for _, other in pairs)),
        "ratio_to_sendmmsg": round(statistics.median(mine / other for mine, other in pairs), 3),
        "send_blocked": stats.send_blocked,
        "threads": room.plane.sending_threads,
        "peer_bytes": int(lib.plane_peer_bytes()),
        "kb_per_listener": round(kb_per_listener, 2),
        "fast_crypto": bool(lib.crypt_has_fast()) and not arguments.openssl_only,
        **machine(),
    }
    await room.plane.close()
    room.sink.close()
    out.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Our fan-out beside bare sendmmsg.")
    parser.add_argument("--listeners", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", type=int, default=100, help="bytes of plaintext RTP")
    parser.add_argument("--threads", type=int, default=1, help="sending threads (0: one a core)")
    parser.add_argument(
        "--profile", default="AEAD_AES_128_GCM", choices=[profile.name for profile in SrtpProfile]
    )
    parser.add_argument(
        "--openssl-only", action="store_true", help="without the code for this processor"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    arguments = parser.parse_args()
    result = asyncio.run(run(arguments))
    print(
        table(
            [
                {"what": "bare sendmmsg", "packets/s a core": result["sendmmsg_pps_per_core"]},
                {"what": "fan-out", "packets/s a core": result["pps_per_core"]},
            ]
        )
    )
    print(f"ratio {result['ratio_to_sendmmsg']:.3f}, by CPU time of the sending threads")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
