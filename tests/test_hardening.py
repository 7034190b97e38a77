"""Hostile packets, one attack per test; HTTP, floods, slow readers and the door stand in other files."""

import asyncio
import gc
from collections.abc import AsyncIterator

import aiohttp
import pytest
from structlog.testing import capture_logs

from bridge.config.model import Http, Limits
from bridge.config.units import Duration, Size
from bridge.sockets.client import SocketClient
from bridge.sockets.connection import Connection
from tests.support.echo_gateway import Running, serve
from tests.support.hostile import open_polling, polling_url, read_until_closed, send_http, websocket

# --- Socket.IO: packets -----------------------------------------------------------------------------------


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server with small bounds and an echo gateway."""
    http = Http(origins="https://page.example")
    async with serve(http, Limits(payload=Size("100kB"), namespaces=4)) as running:
        yield running


HOSTILE_TEXTS = [
    "",
    "abc",
    "9",
    "0",
    "2",
    "2probe",
    "5",
    "bAAAA",
    "4",
    "4abc",
    "49",
    "42",
    "42{}",
    "42[]",
    "42[1]",
    "42[null]",
    '42["e"',
    '42abc["e"]',
    '42["connect"]',
    '42["disconnect"]',
    '42["connect_error"]',
    '42["newListener"]',
    '42["e","\\ud800"]',
    '42["\\ud800"]',
    '42/never,["e"]',
    "41/never,",
    "40{",
    "40[]",
    "43[]",
    "431[]",
    "44{}",
    '44{"message":"forged"}',
    '45["e"]',
    '4599999999-["e"]',
    '4511-["e"]',
    '451-["e",{"_placeholder":true,"num":"x"}]',
    '451-["e",{"_placeholder":true,"num":99}]',
    '451-["e",{"a":{"_placeholder":true,"num":0}}]',
    '42["e",' + "[" * 40_000 + "]" * 40_000 + "]",
    "40" + '{"a":' * 15_000 + "1" + "}" * 15_000,
]


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=lambda text: text[:30])
async def test_a_malformed_packet_closes_the_connection(running: Running, text: str) -> None:
    """With one short log line; the gateway hears of the end once, and of nothing else."""
    with capture_logs() as logs:
        async with websocket(running) as socket:
            await socket.send_str(text)
            assert await read_until_closed(socket) == []
            assert socket.close_code == 1002
    assert running.gateway.received_events == []
    assert running.gateway.ended == [("protocol_error", True)]
    assert running.memberships.room_count == 0
    assert running.count("bridged_connections") == 0
    assert [entry["event"] for entry in logs] == ["connection.protocol_error"]
    assert len(str(logs[0])) < 200


async def test_a_text_instead_of_an_attachment_closes_the_connection(running: Running) -> None:
    """It is not swallowed, and the announced packet does not wait for ever."""
    async with websocket(running) as socket:
        await socket.send_str('451-["message",{"_placeholder":true,"num":0}]')
        await socket.send_str('42["message"]')
        assert await read_until_closed(socket) == []
    assert running.gateway.received_events == []


async def test_an_attachment_that_nobody_announced_closes_the_connection(running: Running) -> None:
    """Binary data alone is no packet."""
    async with websocket(running) as socket:
        await socket.send_bytes(b"\x04[]")
        assert await read_until_closed(socket) == []


async def test_attachments_together_are_no_larger_than_a_payload(running: Running) -> None:
    """Ten attachments do not add up to ten times the bound."""
    async with websocket(running) as socket:
        await socket.send_str('452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        await socket.send_bytes(b"x" * 60_000)
        await socket.send_bytes(b"x" * 60_000)
        assert await read_until_closed(socket) == []
    assert running.gateway.received_events == []


async def test_invalid_utf8_closes_the_connection(running: Running) -> None:
    """In the JSON of a text message; no parser behind the edge would notice."""
    async with websocket(running) as socket:
        await socket.send_frame(b'42["message","\xff\xfe"]', aiohttp.WSMsgType.TEXT)
        assert await read_until_closed(socket) == []
    assert running.gateway.received_events == []


@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString", "", "a" * 10_000, "\u0000\r\n"])
async def test_strange_event_names_are_only_names(running: Running, name: str) -> None:
    """They reach the gateway as they are, and the ack comes back."""
    async with websocket(running) as socket:
        await socket.send_str("421" + aiohttp.payload.json.dumps([name, {"__proto__": 1}]))
        assert await socket.receive_str() == '431[{"__proto__": 1}]'
    assert running.gateway.received_events == [(name, [{"__proto__": 1}])]


async def test_a_message_over_the_bound_closes_the_connection(running: Running) -> None:
    """Before it is read whole; one of exactly the bound is taken."""
    text = '42["message","' + "x" * (100_000 - 17) + '"]'
    async with websocket(running) as socket:
        await socket.send_str(text + " ")
        assert (await socket.receive_str()).startswith('42["message-back"')
    assert running.gateway.received_events != []
    async with websocket(running) as socket:
        await socket.send_str(text + "  ")
        assert await read_until_closed(socket) == []
        assert socket.close_code == 1009


async def test_a_message_of_a_stranger_is_small() -> None:
    """Whoever is in no namespace has a CONNECT packet to send, and nothing larger."""
    async with serve() as running:
        async with websocket(running, connected=False) as socket:
            await socket.send_str("40" + '{"token":"' + "x" * 200_000)
            assert await read_until_closed(socket) == []
            assert socket.close_code == 1009
        async with websocket(running) as socket:
            await socket.send_str(f'42["message","{"x" * 900_000}"]')
            assert (await socket.receive_str()).startswith('42["message-back"')


async def test_a_connection_without_a_namespace_is_closed() -> None:
    """A websocket that never says CONNECT, and one that left its last namespace."""
    async with serve(Http(connect_timeout=Duration("100ms"))) as running:
        async with websocket(running, connected=False) as socket:
            assert await read_until_closed(socket) == []
        async with websocket(running) as socket:
            await socket.send_str("41")
            assert await read_until_closed(socket) == []
        assert running.count("bridged_closed_total", reason="connect_timeout") == 2


async def test_a_client_that_never_answers_pings_is_closed() -> None:
    """On both transports; an unasked pong helps nobody."""
    async with serve(Http(ping_interval=Duration("200ms"), ping_timeout=Duration("200ms"))) as running:
        async with websocket(running) as socket:
            await socket.send_str("3")
            assert await read_until_closed(socket) == ["2"]
        sid = await open_polling(running)
        async with aiohttp.ClientSession() as session:
            answer = await session.get(polling_url(running, sid))
            assert await answer.text() == "2"
            answer = await session.get(polling_url(running, sid))
            assert await answer.text() == "1"
        assert running.count("bridged_closed_total", reason="ping_timeout") == 2


async def test_compression_is_not_negotiated(running: Running) -> None:
    """Neither its memory nor its bombs."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    answer = await send_http(
        running,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{key}"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    )
    assert answer.startswith("HTTP/1.1 101")
    assert "permessage-deflate" not in answer


async def test_ping_frames_do_not_mix_with_events(running: Running) -> None:
    """Both are written to the same transport, in the order of the calls."""
    async with websocket(running) as socket:
        for number in range(200):
            await socket.ping(b"x" * 100)
            await socket.send_str(f'42["message",{number},"{"y" * 1000}"]')
        for number in range(200):
            assert (await socket.receive_str()).startswith(f'42["message-back",{number},')


async def test_a_flood_leaves_no_memory_behind(running: Running) -> None:
    """Connections that broke the protocol leave no object of theirs."""
    for text in HOSTILE_TEXTS:
        async with websocket(running) as socket:
            await socket.send_str(text)
            await read_until_closed(socket)
    async with asyncio.timeout(10):
        while any(isinstance(thing, Connection | SocketClient) for thing in gc.get_objects()):
            await asyncio.sleep(0.05)  # the last handler is still to return
            gc.collect()
