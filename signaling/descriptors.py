"""File descriptors: one for each connection, and the first thing that a full room runs out of."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

RESERVED = 256
"""For files, Redis, the sound's own sockets."""
_HTTP_SHARE = 8
"""One in so many is kept for HTTP requests, through which listeners join."""


def raise_limit() -> int:
    """Raise this process's limit as far as the system allows it; the limit now in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (OSError, ValueError) as error:
            log.warning("the limit of file descriptors stays at %d: %s", soft, error)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def sockets_for(limit: int, wanted: int) -> int:
    """How many of the wanted WebSockets fit under the limit; at least one."""
    return max(1, min(wanted, (limit - RESERVED) * (_HTTP_SHARE - 1) // _HTTP_SHARE))


def provide(wanted: int) -> int:
    """Raise the limit for the wanted number of WebSockets and say what came of it; how many can
    be taken."""
    limit = raise_limit()
    sockets = sockets_for(limit, wanted)
    if sockets < wanted:
        log.warning(
            "the system allows this process %d open files, so it takes %d WebSockets, not the %d "
            "of server.max_sockets; a higher hard limit (ulimit -Hn, LimitNOFILE=) gives more. "
            "Listeners without a WebSocket are not limited by it",
            limit,
            sockets,
            wanted,
        )
    else:
        log.info("%d open files are allowed: room for %d WebSockets", limit, sockets)
    return sockets
