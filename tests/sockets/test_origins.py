"""Which pages may connect."""

import pytest

from bridge.sockets.origins import Origins


@pytest.mark.parametrize(
    ("allowed", "origin", "verdict"),
    [
        ("", None, True),
        ("", "http://a.example", False),
        ("http://a.example", "http://a.example", True),
        ("http://a.example/", "http://A.example", True),
        ("http://a.example, https://b.example", "https://b.example", True),
        ("http://a.example", "https://a.example", False),
        ("http://a.example", "http://a.example.evil.example", False),
        ("http://a.example", "http://a.example:8080", False),
        ("http://a.example", "null", False),
        ("null", "null", True),
        ("*", "http://anything.example", True),
    ],
)
def test_origins(allowed: str, origin: str | None, verdict: bool) -> None:
    """Whole origins are compared; whoever sends none is no browser."""
    assert Origins(allowed).allows(origin) is verdict


def test_cors_headers_name_the_origin() -> None:
    """Caches are told that answers differ by origin; there are never credentials."""
    headers = Origins("http://a.example").preflight_headers("http://a.example")
    assert headers["Access-Control-Allow-Origin"] == "http://a.example"
    assert headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in headers
    assert Origins("*").headers("http://a.example")["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize(
    ("origin", "host", "verdict"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("https://LOCALHOST", "localhost", True),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://bridge:8000", "bridge:8000", True),
        ("http://localhost:8001", "localhost:8000", False),
        ("http://localhost:8000", "127.0.0.1:8000", False),
        ("http://rebound.example:8000", "rebound.example:8000", False),
        ("http://10.0.0.1.example", "10.0.0.1.example", False),
        ("http://user@localhost:8000", "localhost:8000", False),
        ("ftp://localhost:8000", "localhost:8000", False),
        ("null", "null", False),
        ("http://[", "[", False),
        ("http://", "", False),
        ("http://localhost:8000", None, False),
    ],
)
def test_a_page_of_the_server_itself(origin: str, host: str | None, verdict: bool) -> None:
    """It may connect, unless a stranger could own the name that it came from."""
    assert Origins("http://a.example").allows(origin, host) is verdict
