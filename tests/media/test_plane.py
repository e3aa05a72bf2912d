"""What every data plane does, over real sockets with real SRTP."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Callable

import pytest

from media import rtcp
from media.plane import Backlog, IceCredentials, SrtpKeys, SrtpProfile
from tests.media.client import TestPeer, open_socket, random_keys, stun
from tests.media.conftest import Bench, OpenPlane, Recorder, new_credentials

SSRC = 0x1234ABCD


def packet(sequence: int, *, ssrc: int = SSRC, payload_type: int = 96, fill: bytes = b"") -> bytes:
    """One RTP packet; the marker bit is set on multiples of four."""
    marker = 0x80 if sequence % 4 == 0 else 0
    head = struct.pack(
        "!BBHII", 0x80, marker | payload_type, sequence & 0xFFFF, sequence * 960 % 2**32, ssrc
    )
    return head + (fill or b"opus %d" % sequence)


def nack(*sequences: int, ssrc: int = SSRC) -> bytes:
    """A receiver report and the request for packets, as browsers send them."""
    report = rtcp.build_receiver_report(rtcp.ReceiverReport(1), "listener")
    return report + rtcp.build_nack(rtcp.Nack(1, ssrc, sequences))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come; five seconds at most."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


async def dropped(bench: Bench, cause: str, count: int = 1) -> None:
    """Wait until so many packets were dropped for the cause."""
    await until(lambda: bench.plane.stats().dropped.get(cause, 0) >= count)


# --------------------------------------------------------------------------------------- ICE


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_check_is_answered_with_the_address_it_came_from(bench: Bench, host: str) -> None:
    handle, client = await bench.join(host=host, check=False)
    answer = await client.check()
    assert answer.message_class == stun.Class.RESPONSE
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == client.address
    await client.check()
    assert bench.heard.validated == [(handle, client.address)]


async def test_both_families_share_one_port_and_a_dual_stack_socket_does_too(
    open_plane: OpenPlane,
) -> None:
    plane = await open_plane(["::"], 0, consent_timeout_s=30)
    heard = Recorder()
    plane.set_listener(heard)
    for host in ("127.0.0.1", "::1"):
        credentials = new_credentials()
        plane.add_peer(credentials)
        client = await TestPeer.open((host, plane.port))
        client.use_credentials(credentials)
        answer = await client.check()
        assert answer.attributes["XOR-MAPPED-ADDRESS"] == client.address
        assert heard.validated[-1][1] == client.address
        await client.close()
    await plane.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_packets_leave_from_the_address_that_the_peer_checked(
    open_plane: OpenPlane, host: str
) -> None:
    # On a machine with several addresses the routing table would choose another one.
    plane = await open_plane([host], 0, consent_timeout_s=30)
    plane.set_listener(Recorder())
    handle = plane.add_peer(credentials := new_credentials())
    client = await TestPeer.open(("127.0.0.2", plane.port))
    client.use_credentials(credentials)
    await client.check()
    plane.set_keys(handle, keys := random_keys())
    client.use_keys(keys)
    plane.send_rtp(handle, packet(1), 1)
    group = plane.add_group()
    plane.join_group(group, handle, 96, {})
    plane.send_group(group, packet(2), 2)
    assert [await client.next_rtp() for _ in range(2)] == [packet(1), packet(2)]
    assert client.strays == 0
    await client.close()
    await plane.close()


async def test_a_port_that_is_asked_for_is_the_port(open_plane: OpenPlane) -> None:
    first = await open_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    with pytest.raises(OSError, match=r"."):
        await open_plane(["127.0.0.1"], first.port, consent_timeout_s=30)
    await first.close()
    second = await open_plane(["127.0.0.1"], first.port, consent_timeout_s=30)
    assert second.port == first.port
    await second.close()


async def test_a_taken_ufrag_is_refused(bench: Bench) -> None:
    credentials = new_credentials()
    bench.plane.add_peer(credentials)
    with pytest.raises(ValueError, match=r"."):
        bench.plane.add_peer(credentials)


async def test_a_peer_that_claims_to_be_controlled_gets_a_role_conflict(bench: Bench) -> None:
    _, client = await bench.join(check=False)
    answer = await client.exchange(client.check_message(controlled=True))
    assert answer.message_class == stun.Class.ERROR
    assert answer.attributes["ERROR-CODE"][0] == 487
    assert bench.heard.validated == []


async def test_unauthenticated_checks_get_no_reply(bench: Bench) -> None:
    _, client = await bench.join(check=False)
    unsigned = client.check_message()
    with pytest.raises(TimeoutError):
        await client.exchange(unsigned, sign=False, tries=1, wait_s=0.1)
    await dropped(bench, "stun_bad_integrity")
    right, client.server_password = client.server_password, "x" * 32
    with pytest.raises(TimeoutError):
        await client.exchange(client.check_message(), tries=1, wait_s=0.1)
    await dropped(bench, "stun_bad_integrity", 2)
    client.server_password, client.server_ufrag = right, "nobody"
    with pytest.raises(TimeoutError):
        await client.exchange(client.check_message(), tries=1, wait_s=0.1)
    await dropped(bench, "stun_unknown_peer")
    assert client.stun_received == 0
    assert bench.heard.validated == []


async def test_a_wrong_fingerprint_is_malformed(bench: Bench) -> None:
    _, client = await bench.join(check=False)
    message = client.check_message()
    message.add_message_integrity(client.server_password.encode())
    client.send_raw(bytes(message)[:-1] + bytes([bytes(message)[-1] ^ 1]))
    await dropped(bench, "stun_malformed")
    assert client.stun_received == 0


async def test_a_check_without_use_candidate_does_not_nominate(bench: Bench) -> None:
    handle, client = await bench.join(check=False)
    await client.check(nominate=False)
    assert bench.heard.validated == []
    await client.check()
    assert bench.heard.validated == [(handle, client.address)]


async def test_only_an_authenticated_nomination_moves_a_peer(bench: Bench) -> None:
    handle, client = await bench.join()
    before = client.address
    await client.move()
    client.send_rtp(packet(1))
    await dropped(bench, "srtp_unknown_peer")
    await client.check(nominate=False)
    assert bench.heard.validated == [(handle, before)]
    await client.check()
    assert bench.heard.validated == [(handle, before), (handle, client.address)]
    bench.plane.send_rtp(handle, packet(7), 7)
    assert (await client.next_rtp())[2:4] == b"\x00\x07"


async def test_dtls_comes_from_checked_addresses_only(bench: Bench) -> None:
    handle, client = await bench.join(check=False)
    client.keep_dtls = True
    hello = b"\x16\xfe\xfd hello"
    client.send_raw(hello)
    await dropped(bench, "dtls_unknown_peer")
    bench.plane.send_datagram(handle, b"\x16 nowhere to go")
    # A browser begins the handshake when its check has succeeded, before it nominates.
    await client.check(nominate=False)
    client.send_raw(hello)
    assert await asyncio.wait_for(bench.heard.datagrams.get(), 5) == (handle, hello)
    bench.plane.send_datagram(handle, b"\x16 answer")
    assert await asyncio.wait_for(client.datagrams.get(), 5) == b"\x16 answer"


async def test_an_ice_restart_honours_the_old_until_the_new_is_used(bench: Bench) -> None:
    handle, client = await bench.join()
    old = IceCredentials(client.server_ufrag, client.server_password, client.ufrag, client.password)
    new = new_credentials()
    bench.plane.restart_peer(handle, new)
    await client.check()
    client.use_credentials(new)
    await client.move()
    await client.check()
    assert bench.heard.validated[-1] == (handle, client.address)
    bench.plane.send_rtp(handle, packet(1), 1)
    assert (await client.next_rtp())[12:] == b"opus 1"
    client.use_credentials(old)
    with pytest.raises(TimeoutError):
        await client.exchange(client.check_message(), tries=1, wait_s=0.1)
    await dropped(bench, "stun_unknown_peer")


async def test_a_silent_peer_expires_once_and_a_talking_one_does_not(
    open_plane: OpenPlane,
) -> None:
    plane = await open_plane(["127.0.0.1"], 0, consent_timeout_s=0.5)
    heard = Recorder()
    plane.set_listener(heard)
    talking = new_credentials()
    plane.add_peer(talking)
    silent = plane.add_peer(new_credentials())
    client = await TestPeer.open(("127.0.0.1", plane.port))
    client.use_credentials(talking)
    client.keep_alive(0.05)
    assert await asyncio.wait_for(heard.expired.get(), 5) == silent
    await asyncio.sleep(0.6)
    assert heard.expired.empty()
    plane.remove_peer(silent)
    await client.close()
    await plane.close()


async def test_a_removed_peer_is_a_stranger(bench: Bench) -> None:
    handle, client = await bench.join()
    group = bench.plane.add_group()
    bench.plane.join_group(group, handle, 96, {})
    bench.plane.remove_peer(handle)
    bench.plane.remove_peer(handle)
    bench.plane.send_group(group, packet(1), 1)
    bench.plane.send_rtp(handle, packet(1), 1)
    bench.plane.send_datagram(handle, b"\x16")
    client.send_rtp(packet(1))
    await dropped(bench, "srtp_unknown_peer")
    with pytest.raises(TimeoutError):
        await client.exchange(client.check_message(), tries=1, wait_s=0.1)
    assert client.rtp.empty()
    assert bench.plane.stats().peers == 0


# -------------------------------------------------------------------------------------- SRTP


@pytest.mark.parametrize("profile", list(SrtpProfile))
async def test_rtp_and_rtcp_go_both_ways(bench: Bench, profile: SrtpProfile) -> None:
    handle, client = await bench.join(keys=random_keys(profile))
    report = rtcp.build_receiver_report(rtcp.ReceiverReport(5), "somebody")
    client.send_rtp(packet(65_535))
    client.send_rtp(packet(65_536))
    client.send_rtcp(report)
    for sequence in (65_535, 65_536):
        got = await asyncio.wait_for(bench.heard.rtp.get(), 5)
        assert got == (handle, packet(sequence))
    assert await asyncio.wait_for(bench.heard.rtcp.get(), 5) == (handle, report)
    for index in (65_535, 65_536, 65_537):
        bench.plane.send_rtp(handle, packet(index), index)
        assert await client.next_rtp() == packet(index)
    bench.plane.send_rtcp(handle, report)
    assert await client.next_rtcp() == report
    assert client.undecryptable == 0
    stats = bench.plane.stats()
    assert (stats.packets_sent, stats.packets_received, stats.peers) == (5, 4, 1)
    assert stats.bytes_sent > 5 * 12
    assert stats.bytes_received > 4 * 8
    assert stats.dropped == {}


async def test_what_cannot_be_authenticated_is_counted_and_harms_nobody(bench: Bench) -> None:
    handle, client = await bench.join()
    good = client.protect(packet(1))
    client.send_raw(good)
    client.send_raw(good)
    await dropped(bench, "srtp_replay")
    client.send_raw(good[:2] + b"\x00\x09" + good[4:])
    await dropped(bench, "srtp_auth")
    client.send_raw(b"\x80\xc9" + secrets.token_bytes(40))
    await dropped(bench, "srtcp_auth")
    client.send_raw(b"\x80\x60\x00\x01\x00")
    await dropped(bench, "rtp_malformed")
    stranger = open_socket()
    stranger.sendto(good, client.server)
    await dropped(bench, "srtp_unknown_peer")
    stranger.sendto(b"\x50 hello", client.server)
    stranger.sendto(b"", client.server)
    await dropped(bench, "not_webrtc", 1)
    stranger.close()
    _, early = await bench.join(check=False)
    await early.check()
    early.use_keys(random_keys())
    early.send_rtp(packet(1))
    await dropped(bench, "srtp_no_keys")
    client.send_rtp(packet(2))
    assert [bench.heard.rtp.get_nowait()[1] for _ in range(1)] == [packet(1)]
    assert await asyncio.wait_for(bench.heard.rtp.get(), 5) == (handle, packet(2))


async def test_garbage_of_every_first_byte_is_survived(bench: Bench) -> None:
    handle, client = await bench.join()
    stranger = open_socket()
    for first in range(256):
        for length in (0, 1, 3, 7, 11, 12, 19, 20, 40, 200):
            garbage = bytes([first]) + secrets.token_bytes(length)
            stranger.sendto(garbage, client.server)
            if not 20 <= first <= 63:
                client.send_raw(garbage)
        await asyncio.sleep(0)
    stranger.close()
    client.send_rtp(packet(3))
    assert await asyncio.wait_for(bench.heard.rtp.get(), 5) == (handle, packet(3))
    assert bench.heard.rtp.empty()
    assert bench.heard.rtcp.empty()


async def test_a_listener_that_raises_kills_nothing(open_plane: OpenPlane) -> None:
    class Broken(Recorder):
        def rtp_received(self, peer: int, packet: bytes, now: float) -> None:
            super().rtp_received(peer, packet, now)
            raise RuntimeError("a bug above")

    plane = await open_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    heard = Broken()
    plane.set_listener(heard)
    bench = Bench(plane, heard)
    _, client = await bench.join()
    for sequence in (1, 2):
        client.send_rtp(packet(sequence))
        assert (await asyncio.wait_for(heard.rtp.get(), 5))[1] == packet(sequence)
    await client.close()
    await plane.close()


# ------------------------------------------------------------------------------------ groups


Three = tuple[Bench, int, list[tuple[int, TestPeer]]]


@pytest.fixture
async def three(bench: Bench) -> Three:
    """A group with a member of each SRTP profile, numbering Opus 96, 97 and 98."""
    group = bench.plane.add_group()
    members = []
    for number, profile in enumerate(SrtpProfile):
        handle, client = await bench.join(keys=random_keys(profile))
        bench.plane.join_group(group, handle, 96 + number, {})
        members.append((handle, client))
    return bench, group, members


async def test_every_member_gets_its_own_payload_type_and_keys(three: Three) -> None:
    bench, group, members = three
    bench.plane.send_group(group, packet(4), 4)
    for number, (_, client) in enumerate(members):
        assert await client.next_rtp() == packet(4, payload_type=96 + number)
    assert bench.plane.stats().groups == 1


async def test_a_long_running_group_looks_new_to_a_late_member(bench: Bench) -> None:
    group = bench.plane.add_group()
    handle, client = await bench.join()
    start = 5 * 65_536 + 65_534
    bench.plane.join_group(group, handle, 96, {SSRC: 65_530 - start})
    for step in range(12):
        bench.plane.send_group(group, packet(start + step), start + step)
        got = await client.next_rtp()
        assert int.from_bytes(got[2:4], "big") == (65_530 + step) & 0xFFFF
        assert got[12:] == b"opus %d" % (start + step)
    assert client.undecryptable == 0


async def test_moving_between_groups_leaves_no_gap(bench: Bench) -> None:
    handle, client = await bench.join()
    _, other = await bench.join()
    first, second = bench.plane.add_group(), bench.plane.add_group()
    bench.plane.join_group(first, handle, 96, {SSRC: -1000})
    for index in (1000, 1001):
        bench.plane.send_group(first, packet(index), index)
    bench.plane.join_group(second, handle, 96, {SSRC: 2 - 70_000})
    bench.plane.send_group(first, packet(1002), 1002)
    for index in (70_000, 70_001):
        bench.plane.send_group(second, packet(index), index)
    bench.plane.leave_group(first, handle)
    bench.plane.send_group(second, packet(70_002), 70_002)
    bench.plane.leave_group(second, handle)
    bench.plane.send_group(second, packet(70_003), 70_003)
    # And one packet of its own, numbered on.
    bench.plane.send_rtp(handle, packet(5), 5)
    got = [await client.next_rtp() for _ in range(6)]
    assert [int.from_bytes(g[2:4], "big") for g in got] == [0, 1, 2, 3, 4, 5]
    assert [g[12:] for g in got[:3]] == [b"opus 1000", b"opus 1001", b"opus 70000"]
    assert client.rtp.empty()
    assert other.rtp.empty()


async def test_a_spread_send_reaches_everybody(three: Three) -> None:
    bench, group, members = three
    bench.plane.send_group(group, packet(1), 1, spread_s=0.03)
    bench.plane.send_group(group, packet(2), 2)
    for _, client in members:
        got = {(await client.next_rtp())[12:] for _ in range(2)}
        assert got == {b"opus 1", b"opus 2"}


async def test_members_without_keys_or_address_are_passed_over(bench: Bench) -> None:
    group = bench.plane.add_group()
    handle, client = await bench.join()
    keyless, _ = await bench.join(check=False)
    bench.plane.join_group(group, keyless, 96, {})
    bench.plane.join_group(group, handle, 96, {})
    bench.plane.send_group(group, packet(1), 1)
    assert await client.next_rtp() == packet(1)


async def test_a_removed_group_has_no_members(three: Three) -> None:
    bench, group, members = three
    bench.plane.remove_group(group)
    assert bench.plane.stats().groups == 0
    handle, client = members[0]
    again = bench.plane.add_group()
    assert again != group
    bench.plane.join_group(again, handle, 96, {})
    bench.plane.send_group(again, packet(1), 1)
    assert await client.next_rtp() == packet(1)


async def send_or_lose(
    bench: Bench, group: int, client: TestPeer, index: int, *, lose: bool, fill: bytes = b""
) -> None:
    """Send one packet to the group; the client gets it, or loses it."""
    lost = client.lost
    client.to_lose = int(lose)
    bench.plane.send_group(group, packet(index, fill=fill), index)
    if lose:
        await until(lambda: client.lost > lost)
    else:
        await client.next_rtp()


async def test_a_member_is_sent_again_what_it_asks_for(three: Three) -> None:
    bench, group, members = three
    handle, client = members[1]
    bench.plane.join_group(group, handle, 97, {SSRC: 10})
    for index in range(100, 105):
        await send_or_lose(bench, group, client, index, lose=index in (101, 103))
    client.send_rtcp(nack(111, 113))
    again = [await client.next_rtp() for _ in range(2)]
    assert [(int.from_bytes(a[2:4], "big"), a[1] & 0x7F, a[12:]) for a in again] == [
        (111, 97, b"opus 101"),
        (113, 97, b"opus 103"),
    ]
    client.send_rtcp(nack(9, 5000))
    client.send_rtcp(nack(111, ssrc=99))
    await until(lambda: bench.plane.stats().retransmissions_refused == 3)
    assert bench.plane.stats().retransmitted == 2
    assert bench.heard.rtcp.empty()
    assert members[0][1].rtp.qsize() == 5


async def test_what_went_out_before_a_member_joined_is_not_sent_to_it(bench: Bench) -> None:
    # Under the same number the member has got another packet, in the group it came from:
    # to send this one would be wrong, and would use one index of the cipher for two packets.
    first, second = bench.plane.add_group(), bench.plane.add_group()
    handle, client = await bench.join()
    bench.plane.join_group(first, handle, 96, {})
    for index in (1, 2, 3):
        bench.plane.send_group(second, packet(index, fill=b"of the second"), index)
        await send_or_lose(bench, first, client, index, lose=index == 2, fill=b"of the first")
    bench.plane.join_group(second, handle, 96, {})
    await send_or_lose(bench, second, client, 4, lose=True)
    client.send_rtcp(nack(2))
    await until(lambda: bench.plane.stats().retransmissions_refused == 1)
    client.send_rtcp(nack(4))
    assert await client.next_rtp() == packet(4)
    assert client.rtp.empty()


async def test_requests_for_packets_are_limited_per_member(bench: Bench) -> None:
    group = bench.plane.add_group()
    handle, client = await bench.join()
    bench.plane.join_group(group, handle, 96, {})
    for index in range(10):
        bench.plane.send_group(group, packet(index), index)
    for _ in range(40):
        client.send_rtcp(nack(*range(10)))
    await until(lambda: (s := bench.plane.stats()).retransmitted + s.retransmissions_refused == 400)
    stats = bench.plane.stats()
    assert 10 <= stats.retransmitted <= 200
    assert stats.retransmissions_refused >= 200


async def test_reception_sums_up_the_members_reports(three: Three) -> None:
    bench, group, members = three
    report = rtcp.SenderReport(SSRC, rtcp.ntp_time(1_700_000_000.5), 960, 1, 100)
    compound = rtcp.build_sender_report(report, "server")
    bench.plane.send_group_rtcp(group, compound)
    for number, (_, client) in enumerate(members):
        assert await client.next_rtcp() == compound
        block = rtcp.ReportBlock(
            SSRC,
            fraction_lost=64 * number,
            jitter=480 * (number + 1),
            last_report=rtcp.middle(report.ntp),
            delay=0,
        )
        answer = rtcp.ReceiverReport(1, (block,))
        client.send_rtcp(rtcp.build_receiver_report(answer, "listener"))
    await until(lambda: bench.plane.stats().packets_received == 6)
    reception = bench.plane.reception(group)
    assert reception.reports == 3
    assert reception.loss_mean == pytest.approx(0.25)
    assert reception.loss_p95 == pytest.approx(0.5)
    assert reception.jitter_ms_p50 == pytest.approx(20.0)
    assert reception.jitter_ms_p95 == pytest.approx(30.0)
    assert 0 < reception.rtt_ms_p50 <= reception.rtt_ms_p95 < 5000
    assert bench.plane.reception(group).reports == 0
    assert bench.heard.rtcp.empty()


async def test_the_delay_at_the_receiver_is_no_part_of_the_round_trip(bench: Bench) -> None:
    group = bench.plane.add_group()
    handle, client = await bench.join()
    bench.plane.join_group(group, handle, 96, {})
    report = rtcp.SenderReport(SSRC, rtcp.ntp_time(1_700_000_000.0), 960, 1, 100)
    bench.plane.send_group_rtcp(group, rtcp.build_sender_report(report, "server"))
    await client.next_rtcp()
    block = rtcp.ReportBlock(SSRC, last_report=rtcp.middle(report.ntp), delay=600 * 65536)
    client.send_rtcp(rtcp.build_receiver_report(rtcp.ReceiverReport(1, (block,)), "x"))
    await until(lambda: bench.plane.stats().packets_received == 2)
    assert bench.plane.reception(group).rtt_ms_p95 == 0.0


async def test_a_members_goodbye_and_a_strangers_report_reach_the_listener(bench: Bench) -> None:
    group = bench.plane.add_group()
    handle, client = await bench.join()
    report = rtcp.build_receiver_report(rtcp.ReceiverReport(1), "x")
    client.send_rtcp(report)
    assert await asyncio.wait_for(bench.heard.rtcp.get(), 5) == (handle, report)
    bench.plane.join_group(group, handle, 96, {})
    goodbye = report + struct.pack("!BBHI", 0x81, rtcp.GOODBYE, 1, 1)
    client.send_rtcp(goodbye)
    assert await asyncio.wait_for(bench.heard.rtcp.get(), 5) == (handle, goodbye)


async def test_bad_arguments_are_errors(bench: Bench) -> None:
    handle, _ = await bench.join()
    group = bench.plane.add_group()
    with pytest.raises(ValueError, match=r"."):
        bench.plane.send_rtp(handle, packet(5), 6)
    with pytest.raises(ValueError, match=r"."):
        bench.plane.send_group(group, packet(5), 6)
    with pytest.raises(ValueError, match=r"."):
        bench.plane.join_group(group, handle, 128, {})
    with pytest.raises(ValueError, match=r"."):
        bench.plane.set_keys(handle, SrtpKeys(SrtpProfile.AEAD_AES_128_GCM, b"short", b"short"))
    with pytest.raises(KeyError):
        bench.plane.set_keys(999, random_keys())


async def test_closing_twice_is_closing_once(open_plane: OpenPlane) -> None:
    plane = await open_plane(["127.0.0.1"], 0, consent_timeout_s=30)
    await plane.close()
    await plane.close()


async def test_the_backlog_says_what_was_sent_and_how_late_since_the_last_call(
    three: Three,
) -> None:
    bench, group, members = three
    bench.plane.backlog()
    for sequence in range(1, 11):
        bench.plane.send_group(group, packet(sequence), sequence)
        for _, client in members:
            await client.next_rtp()
    await asyncio.sleep(0.01)
    told = bench.plane.backlog()
    assert told.datagrams == 30
    assert told.shed == bench.plane.stats().shed == 0
    assert 0 < told.busy <= 1
    assert 0 < told.cpu <= 1
    assert 0 < told.late_ms < 10_000
    after = bench.plane.backlog()
    assert after.datagrams == after.shed == after.late_ms == 0
    await bench.plane.close()
    assert bench.plane.backlog() == Backlog()
