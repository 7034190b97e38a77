"""Clients that send as fast as they can: others get their turn, and memory and log stay small."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from bridge.config.model import Limits
from bridge.sockets.messages import encode_frame
from tests.support.echo_gateway import Running, serve
from tests.support.hostile import UPGRADE, mask

# --- Socket.IO: packets -----------------------------------------------------------------------------------


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server with an echo gateway."""
    async with serve() as running:
        yield running


@asynccontextmanager
async def flood(running: Running, frame: bytes, count: int) -> AsyncIterator[None]:
    """Connect to `/` by hand and send the same frame again and again; nobody reads the answers."""
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(UPGRADE)
    writer.write(mask(encode_frame(0x81, b"40")))
    await running.gateway.until(lambda: len(running.gateway.clients) > 0)
    writer.write(mask(frame) * count)
    try:
        yield
    finally:
        writer.transport.abort()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(running: Running) -> None:
    """Connect as another client, and wait for the answer to one event."""
    async with aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(url) as socket:
            await socket.receive_str()
            await socket.send_str("40")
            await socket.receive_str()
            await socket.send_str('421["other"]')
            assert await socket.receive_str() == "431[]"


@pytest.mark.parametrize(
    "frame",
    [encode_frame(0x89, b""), encode_frame(0x8A, b""), encode_frame(0x81, b"6"), encode_frame(0x81, b"3")],
    ids=["pings", "pongs", "noops", "heartbeats"],
)
async def test_a_flood_of_frames_leaves_others_their_turn(running: Running, frame: bytes) -> None:
    """Frames of a few bytes, tens of thousands in one read: the loop would be that client's for seconds."""
    async with flood(running, frame, 200_000), asyncio.timeout(3):
        await ask(running)


async def test_events_in_a_flood_are_taken_at_a_bounded_rate(running: Running) -> None:
    """Those of another client do not wait until all are done."""
    async with flood(running, encode_frame(0x81, b'42["flood"]'), 20_000):
        await running.gateway.until(lambda: len(running.gateway.received_events) > 1000)
        await ask(running)
    assert 1000 < running.gateway.received_events.index(("other", [])) < 5000


async def test_the_packets_of_posts_are_taken_at_the_same_rate(running: Running) -> None:
    """A thousand of them in one body, and one body after the other."""
    async with aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=polling"
        async with session.get(url) as answer:
            sid = (await answer.text()).split('"')[3]
        await (await session.post(f"{url}&sid={sid}", data="40")).read()

        async def post() -> None:
            for _ in range(10):
                await (
                    await session.post(f"{url}&sid={sid}", data="\x1e".join(['42["flood"]'] * 1000))
                ).read()

        posting = asyncio.create_task(post())
        await running.gateway.until(lambda: len(running.gateway.received_events) > 1000)
        await ask(running)
        assert running.gateway.received_events.index(("other", [])) < 5000
        posting.cancel()


async def test_a_burst_of_a_page_that_was_offline_is_taken_at_once(running: Running) -> None:
    """What official clients buffer while they are away comes in one go."""
    async with asyncio.timeout(1.5), flood(running, encode_frame(0x81, b'42["buffered"]'), 1500):
        await running.gateway.until(lambda: len(running.gateway.received_events) == 1500)


async def test_who_pings_and_goes_leaves_no_traceback(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer to a websocket ping has nowhere to go any more."""
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        async with flood(running, encode_frame(0x89, b"x"), 5000):
            pass
        await running.gateway.until(lambda: not running.gateway.clients)
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


# --- Socket.IO: connections -------------------------------------------------------------------------------


async def test_connections_that_do_nothing_shut_nobody_out() -> None:
    """When all are taken, one without a namespace gives way, after a moment; one with a namespace never."""
    async with serve(limits=Limits(connections=5)) as running, aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport="
        async with session.ws_connect(f"{url}websocket") as socket:
            await socket.receive_str()
            await socket.send_str("40")
            await socket.receive_str()
            for _ in range(4):
                async with session.get(f"{url}polling") as answer:
                    assert answer.status == 200
            async with asyncio.timeout(5):
                while (await session.get(f"{url}polling")).status != 200:
                    pass
            assert running.count("bridged_connections") == 5
            assert running.count("bridged_closed_total", reason="connect_timeout") == 1
            await socket.send_str('421["still here"]')
            assert await socket.receive_str() == "431[]"
