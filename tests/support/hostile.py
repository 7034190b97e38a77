"""Clients that no library lets be: bare websockets and raw HTTP."""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import aiohttp

from tests.support.echo_gateway import Running


@asynccontextmanager
async def websocket(
    running: Running, *greetings: str, connected: bool = True
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A bare websocket, connected to `/` unless told otherwise; the answers so far are read."""
    async with aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(url, max_msg_size=0) as socket:
            await socket.receive_str()
            if connected:
                await socket.send_str("40")
                await socket.receive_str()
            yield socket


@asynccontextmanager
async def read_nothing(port: int, context: ssl.SSLContext) -> AsyncIterator[asyncio.StreamWriter]:
    """The connection, over TLS, of a client that reads next to nothing."""
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    own.setblocking(False)
    await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", port))
    _, writer = await asyncio.open_connection(sock=own, ssl=context, server_hostname="localhost")
    cast(asyncio.Transport, writer.transport).pause_reading()
    try:
        yield writer
    finally:
        writer.transport.abort()


async def read_until_closed(socket: aiohttp.ClientWebSocketResponse) -> list[object]:
    """What still arrives before the server closes."""
    got: list[object] = []
    async with asyncio.timeout(10):
        while True:
            message = await socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return got
            got.append(message.data)


async def send_http(running: Running, request: str | bytes, seconds: float = 5) -> str:
    """Send raw bytes; returns the answer's head and what came with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        writer.write(request if isinstance(request, bytes) else request.encode())
        async with asyncio.timeout(seconds):
            return (await reader.read(65536)).decode("utf-8", "replace")
    finally:
        writer.close()
        await writer.wait_closed()


UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
"""The handshake of a websocket."""


def mask(frame: bytes) -> bytes:
    """A short frame as a client sends it, masked with zeros."""
    return bytes((frame[0], frame[1] | 0x80)) + bytes(4) + frame[2:]


def polling_url(running: Running, sid: str = "") -> str:
    """Where a client polls."""
    return f"{running.url}/socket.io/?EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")


async def open_polling(running: Running, connect: str = "40") -> str:
    """Open a polling connection to `/`, with that CONNECT packet; returns its sid."""
    async with aiohttp.ClientSession() as session:
        answer = await session.get(polling_url(running))
        sid = re.findall(r'"sid":"([^"]+)"', await answer.text())[0]
        await session.post(polling_url(running, sid), data=connect)
        await session.get(polling_url(running, sid))
    return str(sid)
