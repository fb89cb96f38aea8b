"""Binnacle connects to no address that is not public, whatever name it hides behind, unless an admin allowed its network."""

import socket
from ipaddress import ip_address, ip_network

import httpcore
import pytest
from local_proxies import listening, says

from app.config import load_settings
from app.errors import DomainError
from app.outbound import Address, AddressRefused, Unresolvable, resolve
from app.pinned_network import PinnedNetwork


def answers(monkeypatch: pytest.MonkeyPatch, *ips: str) -> list[str]:
    """Lets every name mean these addresses; gives the names that were asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in ips]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    ("ip", "kind"),
    [
        ("127.0.0.1", "loopback"), ("127.9.9.9", "loopback"), ("::1", "loopback"), ("0.0.0.0", "unspecified"), ("::", "unspecified"),
        ("10.0.0.5", "private"), ("172.16.0.1", "private"), ("172.31.255.255", "private"), ("192.168.1.1", "private"), ("fd00::1", "private"), ("fec0::1", "private"),
        ("169.254.169.254", "link-local"), ("fe80::1", "link-local"), ("fe80::1%1", "link-local"), ("100.64.0.1", "CGNAT"), ("100.127.255.255", "CGNAT"),
        ("64:ff9b::808:808", "NAT64"), ("64:ff9b::7f00:1", "NAT64"), ("64:ff9b:1::1", "NAT64"), ("2002:808:808::1", "6to4"), ("192.88.99.1", "6to4"),
        ("2001:0:1::1", "Teredo"), ("::ffff:10.0.0.5", "10.0.0.5 is a private"), ("::ffff:127.0.0.1", "loopback"), ("::ffff:0:0", "unspecified"),
        ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), ("240.0.0.1", "reserved"), ("255.255.255.255", "reserved"), ("0.1.2.3", "reserved"),
        ("192.0.0.8", "reserved"), ("198.18.0.1", "reserved"), ("192.0.2.1", "documentation"), ("198.51.100.1", "documentation"), ("203.0.113.1", "documentation"),
        ("2001:db8::1", "documentation"), ("3fff::1", "documentation"), ("2001:20::1", "reserved"), ("::808:808", "reserved"), ("100::1", "reserved"),
        ("4000::1", "reserved"), ("5f00::1", "reserved"), ("::ffff:0:808:808", "reserved"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_and_the_setting_named(
    ip: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for found in ([ip], ["8.8.8.8", ip], [ip, "2606:4700::1111"]):
        answers(monkeypatch, *found)
        with pytest.raises(AddressRefused, match=kind) as error:
            resolve("example.com", 80, [])
        assert "BINNACLE_OUTBOUND_ALLOW" in error.value.message
        assert isinstance(error.value, DomainError)


@pytest.mark.parametrize(
    "ip", ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8"]
)
def test_a_public_address_is_given_with_the_port_and_asked_for_once(ip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, ip, ip)
    assert resolve("example.com", 8080, []) == [Address(ip_address(ip.removeprefix("::ffff:")), 8080)]
    assert asked == ["example.com"]


def test_an_allowed_network_lets_its_own_addresses_through_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    allow = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    answers(monkeypatch, "10.1.2.3", "fd00::5", "::ffff:10.1.2.4")
    assert [str(address.ip) for address in resolve("inside", 80, allow)] == ["10.1.2.3", "fd00::5", "10.1.2.4"]
    answers(monkeypatch, "10.1.2.3", "10.2.0.1")
    with pytest.raises(AddressRefused, match=r"10\.2\.0\.1"):
        resolve("inside", 80, allow)


@pytest.mark.parametrize(
    ("ip", "network"), [("64:ff9b::7f00:1", "64:ff9b::/96"), ("2002:7f00:1::1", "2002::/16"), ("2001::80ff:fffe", "2001::/32")]
)
def test_an_allowed_gateway_is_no_way_round_to_loopback(ip: str, network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, ip)
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 is a loopback"):
        resolve("example.com", 80, [ip_network(network)])
    assert resolve("example.com", 80, [ip_network(network), ip_network("127.0.0.0/8")])


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost", "127.0.0.1", "::1"])
def test_other_spellings_of_loopback_are_loopback(host: str) -> None:
    with pytest.raises((AddressRefused, Unresolvable)):
        resolve(host, 80, [])


@pytest.mark.parametrize("host", ["", "no-such-host.invalid", "a" * 70, "a\x00b", "a b", "..", "\udc80"])
def test_a_name_that_means_nothing_cannot_be_resolved(host: str) -> None:
    with pytest.raises(Unresolvable, match="could not resolve host"):
        resolve(host, 80, [])


def test_a_connection_goes_to_the_checked_address_whatever_the_name_means_by_then() -> None:
    with listening(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as port:
        network = PinnedNetwork([Address(ip_address("127.0.0.1"), port)], 5)
        with httpcore.ConnectionPool(network_backend=network) as pool:
            assert pool.request("GET", "http://no-such-host.invalid/").content == b"hi"
        network.close()


def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as port, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        addresses = [Address(ip_address("127.0.0.1"), other) for other in (bound.getsockname()[1], port)]
        with httpcore.ConnectionPool(network_backend=PinnedNetwork(addresses, 5)) as pool:
            assert pool.request("GET", "http://example.com/").content == b"hi"
        with httpcore.ConnectionPool(network_backend=PinnedNetwork(addresses[:1], 5)) as pool:
            with pytest.raises(httpcore.ConnectError):
                pool.request("GET", "http://example.com/")


def test_the_setting_is_a_list_of_networks(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("BINNACLE_DATA_DIR", str(tmp_path))
    assert load_settings().outbound_allow == ()
    monkeypatch.setenv("BINNACLE_OUTBOUND_ALLOW", "10.0.0.0/8, fd00::/8,192.168.1.5")
    assert load_settings().outbound_allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.168.1.5/32"))
    assert load_settings(BINNACLE_OUTBOUND_ALLOW="127.0.0.0/8").outbound_allow == (ip_network("127.0.0.0/8"),)
    monkeypatch.setenv("BINNACLE_OUTBOUND_ALLOW", " ")
    assert load_settings().outbound_allow == ()
