"""Whose connection a proxy passes on: `X-Forwarded-For`, as far as proxies of our own have written it."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from bridge.config.model import Http
from bridge.errors import Fault

_FORM: Final = "write addresses or networks: 10.0.0.0/8, 192.0.2.7"


class TrustedProxies:
    """The proxies of `http.trusted_proxies`: addresses and networks, separated by commas.

    Each proxy appends whom it has its connection from, so the header is read from its end: what stands
    before the first address that is no proxy of ours was written by the client, who may lie.
    """

    def __init__(self, text: str) -> None:
        """ValueError when one of them is neither an address nor a network."""
        self._networks = [ip_network(part.strip()) for part in text.split(",") if part.strip()]

    def find_client(self, remote: str, forwarded: Sequence[str]) -> str:
        """The client's address, by that of the connection and the values of its `X-Forwarded-For` headers."""
        if not self._networks or not forwarded:
            return remote
        hops = ",".join(forwarded).split(",")
        address = remote
        while hops and self._trusts(address):
            try:
                address = str(_parse(hops.pop()))
            except ValueError:
                break
        return address

    def _trusts(self, text: str) -> bool:
        try:
            address = _parse(text)
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def find_proxy_faults(http: Http, file: str) -> list[Fault]:
    """What is wrong with the list of proxies; `file` is the configuration's name."""
    try:
        TrustedProxies(http.trusted_proxies)
    except ValueError as error:
        return [Fault(file=file, path="http.trusted_proxies", message=f"{error} ({_FORM})")]
    return []


def _parse(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.strip())
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
