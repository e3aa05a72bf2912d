"""Token buckets, and whose address a request has."""

import pytest

from signaling.limits import Bucket, Buckets, client_address, is_loopback, networks


def test_a_burst_then_the_rate() -> None:
    bucket = Bucket(rate=2.0, burst=3.0, now=0.0)
    assert [bucket.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert bucket.take(0.0) == pytest.approx(0.5)
    assert bucket.take(0.5) == 0.0
    assert bucket.take(0.5) > 0
    assert not bucket.full(1.0)
    assert bucket.full(10.0)


def test_time_never_runs_backwards() -> None:
    bucket = Bucket(rate=1.0, burst=1.0, now=10.0)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(5.0) > 0.0


def test_keys_have_buckets_of_their_own() -> None:
    buckets = Buckets(1.0, 1.0)
    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0
    assert buckets.take("a", 0.0) > 0.0


def test_memory_is_bounded() -> None:
    buckets = Buckets(1.0, 1.0, max_keys=10)
    for number in range(1000):
        buckets.take(str(number), 0.0)
    assert len(buckets._buckets) <= 10


PROXIES = networks(["127.0.0.1", "10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "rubbish", "127.0.0.1"),
        ("::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", None, "192.0.2.1"),
        ("::ffff:127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("", None, ""),
    ],
)
def test_whose_address(remote: str, forwarded: str | None, address: str) -> None:
    assert client_address(remote, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    ("remote", "inside"),
    [("127.0.0.1", True), ("127.9.0.1", True), ("::1", True), ("192.0.2.1", False), ("", False)],
)
def test_loopback(remote: str, inside: bool) -> None:
    assert is_loopback(client_address(remote, None, [])) is inside
