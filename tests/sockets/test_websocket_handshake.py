"""The websocket handshake: how it is answered, and what is refused since it is none."""

import pytest

from tests.support.echo_gateway import Running
from tests.support.hostile import send_http

_HANDSHAKE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def request(version: str = "1.1", **changes: str) -> str:
    """A handshake with some headers changed; dashes are written as underscores."""
    headers = _HANDSHAKE | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"GET /socket.io/?EIO=4&transport=websocket HTTP/{version}\r\n{''.join(lines)}\r\n"


async def test_the_handshake_is_answered(running: Running) -> None:
    """With the accept of the standard's own example (RFC 6455, section 1.3), and Engine.IO's first packet."""
    answer = await send_http(running, request())
    assert answer.startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


@pytest.mark.parametrize(
    "text",
    [
        request(Sec_WebSocket_Key="short"),
        request(Sec_WebSocket_Key="c2hvcnQ="),
        request(Sec_WebSocket_Version="8"),
        request(Connection="keep-alive"),
        request(version="1.0"),
    ],
    ids=["no key", "a short key", "version", "connection", "HTTP/1.0"],
)
async def test_what_is_no_handshake_is_refused(running: Running, text: str) -> None:
    """And opens no connection."""
    assert (await send_http(running, text)).startswith(("HTTP/1.1 400", "HTTP/1.0 400"))
    assert running.count("bridged_connections") == 0
