"""What the port takes from a stranger: small heads, one request at a time, and answers that are read."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from bridge.web.port import HEAD_BYTES, Port

PAYLOAD = 100_000


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def wait(_request: web.Request) -> web.Response:
    """Wait until the client has gone, as a poll does without events."""
    await asyncio.Event().wait()
    return web.Response()


async def count(request: web.Request) -> web.Response:
    """Answer the size of the body."""
    return web.Response(text=str(len(await request.read())))


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send every message of a websocket back."""
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        await websocket.send_bytes(message.data)
    return websocket


async def show_option(request: web.Request) -> web.Response:
    """Answer how long the kernel lets a client take nothing, in milliseconds."""
    assert request.transport is not None
    taken = request.transport.get_extra_info("socket")
    return web.Response(text=str(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)))


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """An open port."""
    app = web.Application()
    app.add_routes(
        [
            web.get("/wait", wait),
            web.post("/", count),
            web.get("/echo", echo),
            web.get("/option", show_option),
        ]
    )
    number, opened = free_port(), Port(app, PAYLOAD)
    await opened.open("127.0.0.1", number, None)
    yield number
    await opened.close()


async def send(port: int, data: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        try:
            writer.write(data)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def test_a_request_of_many_large_headers_is_refused(port: int) -> None:
    """And its connection closed: one that is kept keeps the headers of its last request."""
    headers = "".join(f"X-{i}: {'x' * 1000}\r\n" for i in range(HEAD_BYTES // 1000 + 1))
    answer = await send(port, f"GET /wait HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 431")


async def test_requests_that_pile_up_behind_one_are_cut(port: int) -> None:
    """A poll waits for an event; what is sent meanwhile is kept by nobody."""
    large = f"GET /wait HTTP/1.1\r\nHost: x\r\nX-Large: {'x' * 8000}\r\n\r\n".encode()
    assert await send(port, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + large * 20) == b""


async def test_largest_bodies_come_one_after_the_other(port: int) -> None:
    """On one connection, as polling clients send them."""
    async with aiohttp.ClientSession() as session:
        for _ in range(5):
            async with session.post(f"http://127.0.0.1:{port}/", data=bytes(PAYLOAD)) as answer:
                assert await answer.text() == str(PAYLOAD)


async def test_a_websocket_may_send_for_as_long_as_it_lives(port: int) -> None:
    """Its messages have bounds of their own."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/echo") as ws:
        for _ in range(5):
            await ws.send_bytes(bytes(PAYLOAD))
            assert len(await ws.receive_bytes(timeout=10)) == PAYLOAD


async def test_who_reads_nothing_is_left_to_the_kernel(port: int) -> None:
    """No timer of ours sees an answer that stays in the kernel's buffers."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/option") as answer,
    ):
        assert await answer.text() == "60000"
