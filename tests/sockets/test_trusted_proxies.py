"""Whose word is taken for a client's address."""

import pytest

from bridge.config.model import Http
from bridge.sockets.trusted_proxies import TrustedProxies, find_proxy_faults


@pytest.mark.parametrize(
    ("trusted", "remote", "forwarded", "client"),
    [
        ("", "10.0.0.1", ["203.0.113.7"], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.0/8", "203.0.113.7", ["10.0.0.9"], "203.0.113.7"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.0/8", "10.0.0.1", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.0/8, 192.0.2.7", "10.0.0.1", ["203.0.113.7, 192.0.2.7, 10.1.1.1"], "203.0.113.7"),
        ("10.0.0.0/8", "10.0.0.1", ["10.2.2.2"], "10.2.2.2"),
        ("10.0.0.0/8", "10.0.0.1", ["203.0.113.7, nonsense"], "10.0.0.1"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("2001:db8::/32", "2001:db8::1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.0/8", "", ["203.0.113.7"], ""),
    ],
)
def test_the_header_is_read_from_its_end(
    trusted: str, remote: str, forwarded: list[str], client: str
) -> None:
    """As far as our own proxies have written it; what stands before may be a lie."""
    assert TrustedProxies(trusted).find_client(remote, forwarded) == client


def test_what_is_no_address_is_a_fault() -> None:
    """With its place, and the form."""
    faults = find_proxy_faults(Http(trusted_proxies="10.0.0.0/8, proxy"), "bridge.yaml")
    assert [str(fault) for fault in faults] == [
        "bridge.yaml: http.trusted_proxies: 'proxy' does not appear to be an IPv4 or IPv6 network"
        " (write addresses or networks: 10.0.0.0/8, 192.0.2.7)"
    ]
