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
