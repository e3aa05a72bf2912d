"""The UDP port: one socket per host, all on one port number, each packet answered from the
address that it was sent to.

A client drops what comes from another address than the one it checked (RFC 8445, section
7.2.5.2.1), and a socket bound to `0.0.0.0` would let the routing table choose. So the kernel
tells for each packet which local address it came to (`IP_PKTINFO`), and is told for each that is
sent.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
from typing import Any

logger = logging.getLogger(__name__)

_BUFFER_BYTES = 4 * 1024 * 1024
_MAX_DATAGRAM = 2048
_CONTROL_BYTES = socket.CMSG_SPACE(20)
_IP_PKTINFO = 8  # in <linux/in.h>; Python 3.11 does not name it

Ancillary = tuple[tuple[int, int, bytes], ...]
"""Control messages for `sendmsg` that name the local address to send from."""


def bind_sockets(hosts: list[str], port: int) -> list[socket.socket]:
    """Non-blocking, unconnected sockets, one per host, all on the same port number.

    `hosts` are numeric addresses, usually `["0.0.0.0", "::"]`; a `::` without an IPv4 host is
    bound dual-stack. `port` 0 takes any that is free on all of them. An IPv6 host is left out
    with a warning on a machine without IPv6, if another host remains. Raises ValueError for a
    host that is no address, OSError where binding fails.
    """
    addresses = [ipaddress.ip_address(host) for host in hosts]
    if not addresses:
        raise ValueError("there is no host to bind to")
    alone = all(address.version == 6 for address in addresses)
    for attempt in range(10):
        sockets: list[socket.socket] = []
        chosen = port
        try:
            for address in addresses:
                try:
                    sock = _bind(address, chosen, dual=alone and address.is_unspecified)
                except OSError as error:
                    last = address is addresses[-1] and not sockets
                    if address.version == 6 and not last and not _has_ipv6():
                        logger.warning(
                            "no IPv6 on this machine, %s is left out: %s", address, error
                        )
                        continue
                    raise
                sockets.append(sock)
                chosen = sock.getsockname()[1]
        except OSError:
            for sock in sockets:
                sock.close()
            if port or attempt == 9:
                raise
        else:
            return sockets
    raise OSError("no port is free on all hosts")


def receive(sock: socket.socket) -> tuple[bytes, Any, Ancillary]:
    """One datagram, where it came from, and how to answer from where it came to. Raises
    BlockingIOError when there is none."""
    data, control, _, sockaddr = sock.recvmsg(_MAX_DATAGRAM, _CONTROL_BYTES)
    for level, kind, info in control:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(info) == 12:
            # struct in_pktinfo: interface, local address, address in the header
            return data, sockaddr, ((level, kind, struct.pack("=i4s4x", 0, info[4:8])),)
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(info) == 20:
            # struct in6_pktinfo: address, interface
            return data, sockaddr, ((level, kind, info[:16] + bytes(4)),)
    return data, sockaddr, ()


def _bind(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, *, dual: bool
) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
        sock.bind((str(address), port))
    except OSError:
        sock.close()
        raise
    return sock


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
