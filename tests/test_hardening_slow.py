"""Clients that take nothing of what they ask for, and those that are gone: neither may hold memory."""

import asyncio
import gc
import ssl
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from bridge.config.model import Http, Limits
from bridge.config.units import Duration, Size
from bridge.sockets.client import SocketClient
from bridge.sockets.connection import Connection
from bridge.sockets.messages import TEXT, encode_frame
from tests.support.amqp import until
from tests.support.certificates import make_certificate
from tests.support.echo_gateway import Running, serve
from tests.support.hostile import UPGRADE, mask, open_polling, polling_url, read_nothing, websocket
from tests.support.loops import on_uvloop

HUGE = "x" * 20_000_000
"""More than the kernel takes."""


@asynccontextmanager
async def poll_and_read_nothing(running: Running, sid: str) -> AsyncIterator[asyncio.StreamReader]:
    """A GET on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1000)
    try:
        writer.write(
            f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        yield reader
    finally:
        writer.transport.abort()


def connection_of(running: Running) -> Connection:
    """The connection of the only client."""
    (client,) = running.gateway.clients.values()
    assert isinstance(client, SocketClient)
    return client.connection


async def read_to_the_end(reader: asyncio.StreamReader) -> int:
    """How much still came."""
    size = 0
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            while piece := await reader.read(1_000_000):
                size += len(piece)
    return size


# --- Answers of polls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [900_000, len(HUGE)])
async def test_an_answer_that_is_not_read_is_cut(size: int) -> None:
    """As slow, after `outbox_age`: else each of any number of polls would leave a megabyte behind.

    In the kernel too, which takes that much of each connection.
    """
    async with serve(limits=Limits(outbox_age=Duration("300ms"))) as running:
        sid = await open_polling(running)
        async with poll_and_read_nothing(running, sid) as reader:
            running.send("blob", HUGE[:size])
            await running.gateway.until(lambda: running.gateway.ended == [("slow_client", True)])
            assert await read_to_the_end(reader) < size
        assert running.count("bridged_closed_total", reason="slow_client") == 1


async def test_no_second_poll_is_answered_while_the_first_is_read() -> None:
    """On whatever connection: they overlap."""
    async with serve() as running:
        sid = await open_polling(running)
        async with poll_and_read_nothing(running, sid) as reader:
            running.send("blob", HUGE)
            connection = connection_of(running)
            await until(lambda: connection.polls.answers)
            async with aiohttp.ClientSession() as session:
                assert (await session.get(polling_url(running, sid))).status == 400
            assert running.gateway.ended == [("protocol_error", True)]
            assert await read_to_the_end(reader) < len(HUGE)


async def test_what_comes_while_an_answer_leaves_is_bounded() -> None:
    """What has not left counts as waiting."""
    async with serve() as running:
        sid = await open_polling(running)
        async with poll_and_read_nothing(running, sid):
            running.send("blob", HUGE)
            connection = connection_of(running)
            await until(lambda: connection.polls.answers)
            assert connection.waiting > 10_000_000
            running.send("one more", "x")
            await running.gateway.until(lambda: running.gateway.ended == [("slow_client", True)])


async def test_a_slow_reader_that_goes_on_gets_all() -> None:
    """In one answer, and the next poll brings what came meanwhile."""
    async with serve(limits=Limits(outbox_bytes=Size("30MB"))) as running:
        sid = await open_polling(running)
        connection = connection_of(running)
        async with poll_and_read_nothing(running, sid) as reader:
            running.send("blob", HUGE)
            await until(lambda: connection.polls.answers)
            running.send("later", 1)
            await reader.readuntil(b"\r\n\r\n")
            assert len(await reader.readexactly(len(HUGE) + 13)) == len(HUGE) + 13
            async with aiohttp.ClientSession() as session:
                assert await (await session.get(polling_url(running, sid))).text() == '42["later",1]'
        assert connection.waiting == 0


async def test_a_drain_does_not_wait_for_who_reads_nothing() -> None:
    """The answer that tells a client to go is given the same time as any other."""
    limits = Limits(outbox_age=Duration("300ms"), outbox_bytes=Size("30MB"))
    async with serve(limits=limits) as running:
        sid = await open_polling(running)
        connection = connection_of(running)
        running.send("blob", HUGE)
        draining = asyncio.create_task(running.server.drain(spread=0, patience=10))
        await running.gateway.until(lambda: running.gateway.ended == [("shutdown", True)])
        async with poll_and_read_nothing(running, sid) as reader:
            await draining
            await until(lambda: connection.polls.answers)
            await until(lambda: not connection.polls.answers)
            assert await read_to_the_end(reader) < len(HUGE)


# --- TLS --------------------------------------------------------------------------------------------------


def test_who_reads_nothing_over_tls_is_cut(tmp_path: Path) -> None:
    """uvloop tells of nothing that waits behind its encryption, when that was written at once."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def go() -> None:
        trust = ssl.create_default_context(cafile=str(certificate))
        limits = Limits(outbox_age=Duration("300ms"))
        async with (
            serve(context=context, limits=limits) as running,
            read_nothing(running.port, trust) as writer,
        ):
            writer.write(UPGRADE + mask(encode_frame(TEXT, b"40")))
            await running.gateway.until(lambda: len(running.gateway.clients) == 1)
            running.send("blob", HUGE)
            assert connection_of(running).waiting > 1_000_000
            await running.gateway.until(lambda: running.gateway.ended == [("slow_client", True)])

    on_uvloop(go)()


# --- Memory -----------------------------------------------------------------------------------------------


@pytest.fixture
def uncollected() -> Iterator[None]:
    """The collector does not come by, as in a daemon it does rarely."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_what_waited_for_a_slow_poller_is_gone_with_it() -> None:
    """A megabyte of it, which nobody will fetch any more."""
    async with serve() as running:
        await open_polling(running)
        connection = weakref.ref(connection_of(running))
        for _ in range(12):
            running.send("blob", "x" * 100_000)
        await running.gateway.until(lambda: running.gateway.ended == [("slow_client", True)])
        await until(lambda: connection() is None)


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("last", ["41", "abc", "1", None])
async def test_a_connection_is_gone_with_its_websocket(last: str | None) -> None:
    """Whoever ends it, and however: nothing of it holds the rest."""
    async with serve(Http(connect_timeout=Duration("100ms"))) as running:
        async with websocket(running) as socket:
            connection = weakref.ref(connection_of(running))
            if last is not None:
                await socket.send_str(last)
        await running.gateway.until(lambda: len(running.gateway.ended) == 1)
        await until(lambda: connection() is None)
