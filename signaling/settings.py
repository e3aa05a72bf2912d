"""What the server itself may be told: the `[server]` section of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from chatroom.settings import setting


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """HTTP, WebSocket and the limits on what people may ask for."""

    host: str = setting(
        "127.0.0.1", "Address that HTTP listens on; 0.0.0.0 for all of IPv4, :: for all of IPv6."
    )
    port: int = setting(
        8080, "TCP port of HTTP; 0 lets the system choose.", minimum=0, maximum=65535
    )
    public_url: str = setting(
        "",
        "Address under which people reach the server, such as https://rooms.example.org; empty "
        "makes links relative to the page. Its origin may open WebSockets.",
    )
    trusted_proxies: list[str] = setting(
        [],
        "Addresses or networks of reverse proxies whose X-Forwarded-For is believed, such as "
        "127.0.0.1 or 10.0.0.0/8.",
    )
    allowed_origins: list[str] = setting(
        [],
        "Further origins whose pages may open WebSockets, such as https://www.example.org; the "
        "server's own is always allowed.",
    )
    ice_servers: list[str] = setting(
        [],
        "STUN and TURN servers told to clients: a URL, and for TURN a user name and a credential "
        "after it, divided by spaces (stun:stun.example.org:3478, or "
        "turn:turn.example.org:3478?transport=udp alice secret).",
        secret=True,
    )
    news_in_sound: bool = setting(
        True,
        "Send captions and room news in the padding of the sound to pages that can read them "
        "there; plain players get none of it.",
    )
    worker: bool = setting(
        True, "Start the translation worker with the server, and again when it ends."
    )
    token_lifetime_h: float = setting(
        24.0, "How long a participant's token is good for.", unit="h", minimum=0.01, maximum=8760.0
    )
    rooms_per_minute: float = setting(
        10.0, "Rooms that one address may create, as a rate.", unit="1/min", minimum=0.1
    )
    rooms_at_once: int = setting(
        10, "Rooms that one address may create in one go before the rate counts.", minimum=1
    )
    joins_per_second: float = setting(
        50.0,
        "New participants and new sound sessions of one address, together, as a rate; two for "
        "each listener. Loopback, where a proxy may be, is not limited.",
        unit="1/s",
        minimum=0.1,
    )
    joins_at_once: int = setting(
        2000,
        "New participants and sound sessions of one address in one go before the rate counts: a "
        "whole lecture hall may be behind one.",
        minimum=1,
    )
    commands_per_second: float = setting(
        5.0, "Commands of one participant, as a rate.", unit="1/s", minimum=0.1
    )
    commands_at_once: int = setting(
        20, "Commands of one participant in one go before the rate counts.", minimum=1
    )
    max_sockets: int = setting(
        10_000,
        "WebSockets open at once; each holds a file descriptor. Where the system allows the "
        "process fewer, fewer are taken, and the log says so at the start.",
        minimum=1,
    )
    keep_alive_s: float = setting(
        20.0,
        "How long an idle HTTP connection is kept for the next request. Each holds a file "
        "descriptor: with 300 listeners a second, 20 s are 6,000.",
        unit="s",
        minimum=1,
        maximum=3600,
    )
    max_body_kib: int = setting(
        64, "Largest body of an HTTP request.", unit="KiB", minimum=16, maximum=4096
    )
    hello_timeout_s: float = setting(
        10.0, "Time in which a WebSocket must introduce itself.", unit="s", minimum=0.1
    )
    heartbeat_s: float = setting(
        15.0, "Time between pings on a WebSocket; without a pong it is closed.", unit="s", minimum=1
    )
    send_buffer_kib: int = setting(
        256,
        "What may wait for a client that does not read its WebSocket. From a quarter of it on, "
        "passing news is left out; above it the connection is cut and the client resumes.",
        unit="KiB",
        minimum=16,
    )
    resume_events: int = setting(
        500,
        "Missed events sent to a client that comes back; who missed more starts anew.",
        minimum=0,
        maximum=100_000,
    )
    bus_batch_ms: float = setting(
        25.0,
        "Time over which speakers' packets are gathered for the translation worker.",
        unit="ms",
        minimum=5,
        maximum=200,
    )
    linger_s: float = setting(
        10.0,
        "How long a room without anybody connected stays in memory.",
        unit="s",
        minimum=0,
    )
    log_level: str = setting(
        "info", "What is logged.", choices=("debug", "info", "warning", "error")
    )
