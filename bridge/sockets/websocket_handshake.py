"""The websocket handshake: which requests ask for a websocket, and what they are answered."""

import binascii
from base64 import b64decode, b64encode
from hashlib import sha1
from typing import Final

from aiohttp import HttpVersion11, web

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPTED: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\n\r\n"
)


def find_accept(request: web.Request) -> bytes | None:
    """The answer to a websocket handshake (RFC 6455, section 4.2); None when the request is none."""
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "").strip()
    try:
        nonce = b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        return None
    connection = [word.strip().lower() for word in headers.get("Connection", "").split(",")]
    if (
        request.method != "GET"
        or request.version < HttpVersion11
        or headers.get("Upgrade", "").lower() != "websocket"
        or "upgrade" not in connection
        or headers.get("Sec-WebSocket-Version") != "13"
        or len(nonce) != 16
    ):
        return None
    digest = sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    return _ACCEPTED.format(b64encode(digest).decode()).encode()
