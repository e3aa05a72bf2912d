"""Which addresses of this machine peers are told to send to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from aioice.ice import get_host_addresses


def advertised(hosts: Sequence[str], advertise: Sequence[str]) -> list[str]:
    """Numeric addresses for the candidates, best first. `advertise` where it is given; else the
    bound `hosts`, with every address of the machine in the place of a wildcard, loopback last.
    Raises ValueError for what is no address."""
    if advertise:
        return [_numeric(address, "media.advertise") for address in advertise]
    found: list[str] = []
    last: list[str] = []
    for host in hosts:
        address = ipaddress.ip_address(_numeric(host, "media.host"))
        if not address.is_unspecified:
            found.append(str(address))
            continue
        both = address.version == 6 and all(":" in other for other in hosts)
        if address.version == 4 or both:
            found += get_host_addresses(use_ipv4=True, use_ipv6=False)
            last.append("127.0.0.1")
        if address.version == 6 and _has_ipv6():
            found += get_host_addresses(use_ipv4=False, use_ipv6=True)
            last.append("::1")
    return list(dict.fromkeys(found + last))


def _numeric(address: str, key: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise ValueError(f"{key}: {address!r} is not a numeric IP address") from None


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
