"""What the media port reads from the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from chatroom.settings import setting


@dataclass(frozen=True)
class MediaSettings:
    """The `[media]` section."""

    host: list[str] = setting(
        ["0.0.0.0", "::"],
        "Addresses to bind the one UDP port on. Where IPv6 is missing, '::' is left out.",
    )
    port: int = setting(
        8080,
        "UDP port of all sound; 0 takes any free one. It may equal the HTTP port, which is TCP.",
        minimum=0,
        maximum=65535,
    )
    advertise: list[str] = setting(
        [],
        "Numeric IP addresses that browsers are told to send to, such as the public address of a "
        "machine behind NAT. Empty: this machine's own addresses, loopback included.",
    )
    plane: str = setting(
        "auto",
        "Data plane: 'native' (C), 'python' (reference, slower), or 'auto': native where built.",
        choices=("auto", "python", "native"),
    )
    slots: int = setting(
        3, "How many people can be heard at the same time in a room.", minimum=1, maximum=8
    )
    max_peers: int = setting(
        40_000,
        "Sessions (publishing and listening) that this node takes; more are told it is full.",
        minimum=1,
        maximum=1_000_000,
    )
    max_connecting: int = setting(
        2_000,
        "Listeners that are connecting (ICE, DTLS) at the same time; more are told to try again "
        "in a moment. Each holds some 80 KB until it is connected.",
        minimum=1,
        maximum=1_000_000,
    )
    pack_60_from: int = setting(
        60,
        "Listeners in a room's audience from which sound is sent in packets of 60 ms instead of "
        "20 ms.",
        minimum=1,
        maximum=10_000_000,
    )
    pack_120_from: int = setting(
        10_000,
        "Listeners in a room's audience from which sound is sent in packets of 120 ms.",
        minimum=1,
        maximum=10_000_000,
    )
    overload_busy: float = setting(
        0.9,
        "Share of the time that sending may be at work; from there this node is overloaded: "
        "packets to all audiences are made longer, then new listeners refused. By prediction they "
        "are refused from 0.8 times this, in time on a core; the rest is for when two speak at a "
        "time and for other programs.",
        minimum=0.1,
        maximum=1.0,
    )
    overload_late_ms: int = setting(
        250,
        "The node is also overloaded where packets leave this much later than they should: more "
        "than players smooth out before it is heard. Half a second late, they are given up.",
        unit="ms",
        minimum=10,
        maximum=500,
    )
    overload_after_s: float = setting(
        2.0,
        "An overload has to last for so long before something is done, so that a moment's work "
        "of another program is none. Where packets were given up, it is done at once.",
        unit="s",
        minimum=0.0,
        maximum=60.0,
    )
    calm_after_s: float = setting(
        10.0,
        "There has to be room for so long before a step is taken back; also the least that "
        "refused listeners are asked to wait.",
        unit="s",
        minimum=1.0,
        maximum=600.0,
    )
    spread_ms: int = setting(
        10,
        "Time over which one packet's copies to a large audience are spread, so that they do not "
        "leave in one burst.",
        unit="ms",
        minimum=0,
        maximum=20,
    )
    consent_timeout_s: float = setting(
        30.0,
        "A peer that has answered nothing for this long is gone (RFC 7675).",
        unit="s",
        minimum=0.1,
        maximum=300.0,
    )
    connect_timeout_s: float = setting(
        15.0,
        "A session that has not connected after this long is closed.",
        unit="s",
        minimum=0.1,
        maximum=300.0,
    )
    report_interval_s: float = setting(
        3.0,
        "Time between RTCP reports to and from every peer.",
        unit="s",
        minimum=0.5,
        maximum=30.0,
    )
    speech_dbov: int = setting(
        60,
        "Sound louder than minus this many dBov counts as speech and may take a slot.",
        unit="dB below full scale",
        minimum=1,
        maximum=126,
    )
    hold_ms: int = setting(
        1000,
        "A speaker who falls silent keeps the slot for this long.",
        unit="ms",
        minimum=0,
        maximum=60_000,
    )
    challenge_db: int = setting(
        6,
        "With all slots taken, a speaker must be this much louder than the quietest one heard...",
        unit="dB",
        minimum=0,
        maximum=60,
    )
    challenge_ms: int = setting(
        300,
        "...for this long, to take over that slot.",
        unit="ms",
        minimum=0,
        maximum=10_000,
    )
