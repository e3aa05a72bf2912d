"""Binding the UDP port: one socket per host, all on one port number."""

from __future__ import annotations

import ipaddress
import logging
import socket

logger = logging.getLogger(__name__)

_BUFFER_BYTES = 4 * 1024 * 1024


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


def _bind(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, *, dual: bool
) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
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
