"""What the port takes from a stranger: small heads, one request at a time, and answers that are read."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bridge.config.model import Tls
from bridge.intake import HEAD_BYTES, Heir, take_over
from bridge.web.port import Port
from bridge.web.tls import make_tls_context
from bridge.workload import Workload
from tests.support.certificates import make_certificate
from tests.support.fakes import Clock

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


class Counter(Heir):
    """Says how much has come."""

    def __init__(self) -> None:
        self._count = 0
        self._transport: asyncio.Transport | None = None

    async def take(self, request: web.Request) -> web.Response:
        """Take the connection over, as the websockets do."""
        taken = take_over(request, self)
        assert taken is not None
        self._transport, early = taken
        self.data_received(early)
        return web.Response()

    def data_received(self, data: bytes) -> None:
        self._count += len(data)
        assert self._transport is not None
        self._transport.write(b"%d " % self._count)


async def take(request: web.Request) -> web.Response:
    """Hand a connection to a counter."""
    return await Counter().take(request)


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
            web.get("/take", take),
            web.get("/option", show_option),
        ]
    )
    number, opened = free_port(), Port(app, PAYLOAD, Workload())
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


async def test_what_was_taken_over_may_send_for_as_long_as_it_lives(port: int) -> None:
    """The messages of websockets have bounds of their own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /take HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    async with asyncio.timeout(10):
        assert await reader.readuntil(b" ") == b"0 "
        for _ in range(5):
            writer.write(bytes(PAYLOAD))
            await writer.drain()
        await reader.readuntil(b" %d " % (5 * PAYLOAD))
    writer.close()


async def test_a_header_alone_makes_no_websocket(port: int) -> None:
    """`Upgrade` without `Connection: Upgrade` is a request like others: what piles up is cut."""
    large = f"GET /wait HTTP/1.1\r\nHost: x\r\nX-Large: {'x' * 8000}\r\n\r\n".encode()
    first = b"GET /wait HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
    assert await send(port, first + large * 20) == b""


async def test_who_never_agrees_on_the_encryption_is_cut(tmp_path: Path) -> None:
    """Before that nobody can answer it, or ask it to give way."""
    certificate, key = make_certificate(tmp_path)
    context = make_tls_context(Tls(certificate=str(certificate), key=str(key)), "bridge.yaml")
    clock = Clock()
    clock.drive_loop()
    port = Port(web.Application(), PAYLOAD, Workload())
    await port.open("127.0.0.1", 0, context)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    seconds = 0
    while not reader.at_eof() and seconds < 60:
        await clock.advance(1)
        seconds += 1
    assert 10 <= seconds < 20
    writer.close()
    await port.close()


async def test_who_reads_nothing_is_left_to_the_kernel(port: int) -> None:
    """No timer of ours sees an answer that stays in the kernel's buffers."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/option") as answer,
    ):
        assert await answer.text() == "60000"
