"""How many connections are open from each address."""

import ipaddress
from functools import lru_cache
from typing import Final

REMEMBERED: Final = 4_096
NETWORK_BITS: Final = 64
"""The usual size of a network of IPv6, whose addresses all belong to one customer."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Addresses:
    """Counts by address; the addresses of an IPv6 network count as one.

    Loopback and the networks of `trusted_proxies` are not counted: all clients of a proxy come from its address.
    """

    def __init__(self, trusted_proxies: str) -> None:
        self._counts: dict[str, int] = {}
        trusted = networks(trusted_proxies)
        self._of = lru_cache(REMEMBERED)(lambda host: _counted_as(host, trusted))

    def opened(self, client: tuple[str, int] | None) -> int:
        """Count a connection; return how many its address has now, and 0 if they are not counted."""
        address = None if client is None else self._of(client[0])
        if address is None:
            return 0
        count = self._counts[address] = self._counts.get(address, 0) + 1
        return count

    def closed(self, client: tuple[str, int] | None) -> None:
        """Count a connection no longer."""
        address = None if client is None else self._of(client[0])
        if address is None:
            return
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]


def networks(listed: str) -> tuple[Network, ...]:
    """Return the networks of a list with commas; an address is a network of one.

    Raises:
        ValueError: One of them is no address and no network.
    """
    return tuple(ipaddress.ip_network(each.strip()) for each in listed.split(",") if each.strip())


def _counted_as(host: str, trusted: tuple[Network, ...]) -> str | None:
    """Return what an address is counted as; None if it is not."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback or any(address in network for network in trusted):
        return None
    if address.version == 4:  # noqa: PLR2004
        return str(address)
    return str(ipaddress.ip_network((address, NETWORK_BITS), strict=False))
