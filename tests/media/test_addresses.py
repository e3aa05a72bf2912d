import ipaddress

import pytest

from media.addresses import advertised


def test_what_is_configured_is_advertised() -> None:
    assert advertised(["0.0.0.0"], ["203.0.113.7", "2001:DB8::7"]) == ["203.0.113.7", "2001:db8::7"]


def test_a_bound_address_stands_for_itself() -> None:
    assert advertised(["127.0.0.1", "::1"], []) == ["127.0.0.1", "::1"]


def test_a_wildcard_stands_for_every_address_of_its_family() -> None:
    found = advertised(["0.0.0.0"], [])
    assert found[-1] == "127.0.0.1"
    assert {ipaddress.ip_address(address).version for address in found} == {4}
    assert len(found) == len(set(found))


def test_a_lone_ipv6_wildcard_is_dual_stack() -> None:
    assert "127.0.0.1" in advertised(["::"], [])


@pytest.mark.parametrize(
    ("hosts", "advertise", "key"),
    [(["localhost"], [], "media.host"), (["0.0.0.0"], ["example.org"], "media.advertise")],
)
def test_names_are_no_addresses(hosts: list[str], advertise: list[str], key: str) -> None:
    with pytest.raises(ValueError, match=f"{key}.*numeric"):
        advertised(hosts, advertise)
