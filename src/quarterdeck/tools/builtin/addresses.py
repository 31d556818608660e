"""Which addresses may be connected to where others say the URL, a model or a client: public ones, so that they cannot
reach into the network that this process runs in."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

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
    return all(_is_public(part) for part in _meant(address))


def guarded(permits: Callable[[str], bool], refused: type[Exception]) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Makes the sockets of connections, for aiohttp's ``TCPConnector(socket_factory=)``.

    It is the last point at which an address can be refused, whatever name led to it, and however often the name's
    address has changed (DNS rebinding).

    Args:
        permits: Whether an address that is not public may be connected to all the same.
        refused: Raised where it may not; not an OSError: after that, the name's next address would be tried.
    """

    def make(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, target = address
        if not (is_public(target[0]) or permits(target[0])):
            raise refused(f"{target[0]} is not a public address; private addresses may not be fetched.")
        return socket.socket(family=family, type=kind, proto=protocol)

    return make


def in_network(host: str, network: Network) -> bool:
    """Whether an address, as text, lies in a network."""
    try:
        return ipaddress.ip_address(host.split("%", 1)[0]) in network
    except ValueError:
        return False


def _is_public(address: Address) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not (address.is_multicast or address.is_reserved or site_local)


def _meant(address: Address) -> list[Address]:
    """The addresses that one leads to: IPv6 can carry IPv4 (RFC 4291 mapped, RFC 6052; RFC 3056, RFC 4380)."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    carried = [address.sixtofour, *(address.teredo or ())]
    return [address, *(part for part in carried if part is not None)]
