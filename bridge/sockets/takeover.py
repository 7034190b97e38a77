"""The websocket handshake, and taking a connection over from aiohttp: it is ours alone from then on.

aiohttp would keep its parser, the request and its headers, three coroutines and a task for as long as a
websocket lives, 9 kB, and wake a task up for each message. Told that the connection is lost, it forgets
all of that. No private name of aiohttp is used;
tests/sockets/test_takeover.py holds what is expected of it.
"""

import asyncio
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


class _Early:
    """Takes what came in behind the request; a client should wait for its answer, and some do not."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take it as aiohttp's parsers do: not the end, nothing left."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more comes this way."""


def take_over(request: web.Request, protocol: asyncio.Protocol) -> tuple[asyncio.Transport, bytes] | None:
    """Give the request's connection to the protocol; returns it, and what came in behind the request.

    None when it is lost. What the handler returns afterwards goes nowhere.
    """
    handler, transport = request.protocol, request.transport
    if transport is None or transport.is_closing():
        return None
    early = _Early()
    handler.set_parser(early)  # type: ignore[arg-type]  # it wants aiohttp's own, of which it calls only these
    handler.transport = None  # else it is closed by the next line but one
    transport.set_protocol(protocol)
    handler.connection_lost(None)
    if not transport.is_reading():
        transport.resume_reading()
    return transport, early.data
