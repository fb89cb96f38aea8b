"""Connections to addresses that people and programs name (RELIABILITY 16): resolve once, check every address, connect to those.

What counts as public follows IANA's special-purpose address registries (RFC 6890 and its updates), spelled out here because
`ipaddress` answers differently from one Python to the next.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from app.errors import Invalid

Network = IPv4Network | IPv6Network
SETTING = "BINNACLE_OUTBOUND_ALLOW"

# The first network that holds an address says what it is.
_SPECIAL: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(network), kind)
    for kind, networks in {
        "an unspecified address": "0.0.0.0/32 ::/128",
        "a loopback address": "127.0.0.0/8 ::1/128",
        "a link-local address": "169.254.0.0/16 fe80::/10",
        "a private address": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10",
        "a carrier's private address (CGNAT)": "100.64.0.0/10",
        "a multicast address": "224.0.0.0/4 ff00::/8",
        "a NAT64 address": "64:ff9b::/96 64:ff9b:1::/48",
        "a 6to4 address": "2002::/16 192.88.99.0/24",
        "a Teredo address": "2001::/32",
        "a documentation address": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        "a reserved address": "0.0.0.0/8 192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 2001::/23",
    }.items()
    for network in networks.split()
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has given out; the rest of IPv6 is reserved
_NAT64 = IPv6Network("64:ff9b::/96")


class Unresolvable(Invalid):
    """The host's name has no address, or is no name."""


class AddressRefused(Invalid):
    """The host has an address that is not public and in no allowed network."""


@dataclass(frozen=True)
class Address:
    """Where to connect to: an address that has been checked, and a port (1–65535)."""

    ip: IPv4Address | IPv6Address
    port: int


def special_kind(ip: IPv4Address | IPv6Address) -> str | None:
    """What a non-public address is, such as `a loopback address`; None when it is public."""
    kind = next((kind for network, kind in _SPECIAL if ip in network), None)
    if kind is None and isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return "a reserved address"
    return kind


def resolve(host: str, port: int, allow: Sequence[Network]) -> list[Address]:
    """Every address of a host name or of an IP address in text, each once, in the resolver's order.

    An IPv4-mapped address (`::ffff:a.b.c.d`) counts as the IPv4 address that it reaches; of NAT64, 6to4 and Teredo both the
    address itself and the IPv4 address inside are checked. Raises Unresolvable, and AddressRefused
    when any of the addresses is neither public nor in `allow`: a name that means two things is not to be trusted with either.
    How long the name servers may take is the system's choice (`/etc/resolv.conf`).
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM) if host else []
    except (OSError, ValueError):  # no such name; a name that cannot be one (too long, NUL)
        found = []
    ips = [_unmapped(ip_address(row[4][0])) for row in found]
    if not ips:
        raise Unresolvable("could not resolve host")
    refuse(ips, allow)
    return [Address(ip, port) for ip in dict.fromkeys(ips)]


def refuse_literal(host: str, allow: Sequence[Network]) -> None:
    """Check a host that is an IP address or `localhost`, without asking a name server: for forms, so that a person is told at
    once. Names are checked when they are resolved. Raises AddressRefused."""
    with suppress(ValueError):
        refuse([ip_address("127.0.0.1" if host.rstrip(".").lower() == "localhost" else host.strip("[]"))], allow)


def refuse(ips: Sequence[IPv4Address | IPv6Address], allow: Sequence[Network]) -> None:
    """Raises AddressRefused when an address, or an IPv4 address that it stands for, is neither public nor in `allow`."""
    for ip in (part for whole in ips for part in _parts(_unmapped(whole))):
        kind = special_kind(ip)
        if kind is not None and not any(ip in network for network in allow):
            raise AddressRefused(f"{ip} is {kind}, which Binnacle does not connect to; an admin can allow it with {SETTING}")


def _unmapped(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (ip.ipv4_mapped if isinstance(ip, IPv6Address) else None) or ip


def _parts(ip: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address, and the IPv4 address that a gateway would pass its packets on to (RFC 6052, 3056, 4380)."""
    yield ip
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            yield IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.sixtofour is not None:
            yield ip.sixtofour
        if ip.teredo is not None:
            yield ip.teredo[1]
