"""Which addresses a tool may connect to: public ones, so that a model cannot reach into the network it runs in."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(host: str) -> bool:
    """Whether an address, as text, is one on the public internet.

    Anything that is no address in its usual form (``127.1``, ``2130706433``) is not: the system would read it as one.
    """
    try:
        address = ipaddress.ip_address(host.split("%", 1)[0])
    except ValueError:
        return False
    return all(_is_public(part) for part in (address, *_carried(address)))


def in_network(host: str, network: Network) -> bool:
    """Whether an address, as text, lies in a network."""
    try:
        return ipaddress.ip_address(host.split("%", 1)[0]) in network
    except ValueError:
        return False


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or site_local)


def _carried(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address stands for (RFC 4291 mapped, RFC 3056, RFC 4380, RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [part for part in found if part is not None]
