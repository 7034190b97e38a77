"""Hostile clients and services, one attack per test; each part of the bridge has its section."""

import asyncio
import gc
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from structlog.testing import capture_logs

from bridge.config.model import Http, Limits
from bridge.config.units import Duration, Size
from bridge.sockets.clients import SocketClient
from bridge.sockets.connection import Connection
from tests.support.echo_gateway import Running, serve

# --- Socket.IO: packets -----------------------------------------------------------------------------------


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server with small bounds and an echo gateway."""
    http = Http(origins="https://page.example")
    async with serve(http, Limits(payload=Size("100kB"), namespaces=4)) as running:
        yield running


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


async def read_until_closed(socket: aiohttp.ClientWebSocketResponse) -> list[object]:
    """What still arrives before the server closes."""
    got: list[object] = []
    async with asyncio.timeout(10):
        while True:
            message = await socket.receive()
            if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return got
            got.append(message.data)


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
    assert running.memberships.member_count == 0
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


async def test_a_second_connect_to_a_namespace_is_refused(running: Running) -> None:
    """The client stays what it was."""
    async with websocket(running) as socket:
        await socket.send_str("40")
        assert "VALIDATION_FAILED" in await socket.receive_str()
        await socket.send_str('421["still"]')
        assert await socket.receive_str() == "431[]"
    assert len(running.gateway.requests) == 1


async def test_namespaces_of_a_connection_are_bounded(running: Running) -> None:
    """A thousand CONNECTs are refused at the bound, and disconnected in the end."""
    async with websocket(running, connected=False) as socket:
        for number in range(1000):
            await socket.send_str(f"40/n{number},")
        got = await read_until_closed(socket)
        assert 0 < len(got) <= 104
        assert all(str(answer).startswith("44/n") for answer in got)
    assert len(running.gateway.requests) <= 100


async def test_a_client_that_is_never_let_in_is_disconnected(running: Running) -> None:
    """Refusals by an event are counted as those by CONNECT_ERROR are."""
    async with websocket(running, connected=False) as socket:
        for _ in range(100):
            await socket.send_str('40{"dismiss":"no"}')
            assert (await socket.receive_str()).startswith("40{")
            assert [await socket.receive_str() for _ in range(2)] == ['42["no"]', "41"]
        assert await read_until_closed(socket) == []
    assert len(running.gateway.requests) == 100
    assert running.gateway.clients == {}


async def test_an_event_before_the_connect_is_answered_closes_the_connection(running: Running) -> None:
    """Nothing reaches the gateway from a client that it has not admitted."""
    async with websocket(running, connected=False) as socket:
        await socket.send_str('40{"wait":true}')
        await socket.send_str('42["message"]')
        assert await read_until_closed(socket) == []
    assert running.gateway.received_events == []
    assert running.gateway.ended == []


async def test_a_client_that_goes_while_it_is_admitted_leaves_nothing(running: Running) -> None:
    """The gateway learns of the end, once, though the client never had its CONNECT."""
    async with websocket(running, connected=False) as socket:
        await socket.send_str('40{"wait":true}')
        await running.gateway.until(lambda: len(running.gateway.requests) == 1)
    await running.gateway.until(lambda: bool(running.gateway.ended))
    running.gateway.let_in.set()
    assert running.gateway.ended == [("transport_close", True)]
    assert running.gateway.clients == {}
    assert running.count("bridged_connections") == 0


async def test_a_fault_of_the_gateway_ends_one_connection(running: Running) -> None:
    """Nothing of it reaches the client, and others do not notice."""
    async with websocket(running) as socket, websocket(running) as other:
        with capture_logs() as logs:
            await socket.send_str('42["fail"]')
            assert await read_until_closed(socket) == []
        await other.send_str('421["still"]')
        assert await other.receive_str() == "431[]"
    assert [entry["event"] for entry in logs] == ["connection.failed"]


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
    """aiohttp answers a client's websocket pings on the transport that the fan-out writes to."""
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


# --- Socket.IO: HTTP --------------------------------------------------------------------------------------


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


def polling_url(running: Running, sid: str = "") -> str:
    """Where a client polls."""
    return f"{running.url}/socket.io/?EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")


async def open_polling(running: Running) -> str:
    """Open a polling connection to `/`; returns its sid."""
    async with aiohttp.ClientSession() as session:
        answer = await session.get(polling_url(running))
        sid = re.findall(r'"sid":"([^"]+)"', await answer.text())[0]
        await session.post(polling_url(running, sid), data="40")
        await session.get(polling_url(running, sid))
    return str(sid)


@pytest.mark.parametrize(
    ("query", "method"),
    [
        ("", "GET"),
        ("EIO=3&transport=polling", "GET"),
        ("EIO=4", "GET"),
        ("EIO=4&transport=carrier-pigeon", "GET"),
        ("EIO=4&transport=polling&sid=nobody", "GET"),
        ("EIO=4&transport=polling&sid=%0aCRITICAL+forged", "GET"),
        ("EIO=4&transport=polling&sid=", "GET"),
        ("EIO=4&transport=polling&j=0", "GET"),
        ("EIO=4&transport=websocket", "GET"),
        ("EIO=4&transport=polling", "POST"),
        ("EIO=4&transport=polling", "PUT"),
        ("EIO=4&transport=polling", "DELETE"),
    ],
)
async def test_a_bad_request_is_400(running: Running, query: str, method: str) -> None:
    """With Engine.IO's code, no log line, no connection."""
    with capture_logs() as logs:
        async with aiohttp.ClientSession() as session:
            answer = await session.request(method, f"{running.url}/socket.io/?{query}")
            assert answer.status == 400
            assert "code" in await answer.json()
    assert logs == []
    assert running.count("bridged_connections") == 0


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_a_foreign_page_is_refused(running: Running, transport: str) -> None:
    """On both transports, before anything else, and JSONP is no way round it."""
    for extra in ("", "&j=0"):
        answer = await send_http(
            running,
            f"GET /socket.io/?EIO=4&transport={transport}{extra} HTTP/1.1\r\nHost: x\r\n"
            "Origin: https://evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        assert answer.startswith("HTTP/1.1 403")
        assert "Access-Control-Allow-Origin" not in answer
    assert running.count("bridged_connections") == 0


async def test_an_allowed_page_gets_its_cors_headers(running: Running) -> None:
    """On the preflight, the answer, and the refusal, else a browser could not read that."""
    headers = {"Origin": "https://page.example"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for answer in (
            await session.options(polling_url(running)),
            await session.get(polling_url(running)),
            await session.get(polling_url(running, "nobody")),
        ):
            assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Transfer-Encoding: chunked", "3\r\n40x\r\n0\r\n\r\n", 411),
        ("Content-Length: 100001", "4", 413),
        ("Content-Length: 99999999999999999999", "4", 400),
        ("Content-Length: 20\r\nContent-Encoding: gzip", "x" * 20, 415),
        ("Content-Length: 2", "\xff\xfe", 400),
        ("Content-Length: 0", "", 400),
        ("Content-Length: -1", "", 400),
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 400),
    ],
)
async def test_a_bad_post_is_refused(running: Running, headers: str, body: str, status: int) -> None:
    """Its length must be said, bounded, and that of the text itself."""
    sid = await open_polling(running)
    head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n"
    answer = await send_http(running, head.encode() + body.encode("latin-1"))
    assert answer.split(" ", 2)[1] == str(status)
    assert running.gateway.received_events == []


async def test_a_payload_of_too_many_packets_closes_the_connection(running: Running) -> None:
    """Heartbeats cost a byte each: a body of them would hold up everybody."""
    sid = await open_polling(running)
    async with aiohttp.ClientSession() as session:
        answer = await session.post(polling_url(running, sid), data="\x1e".join(["3"] * 20_000))
        assert answer.status == 400
    assert running.gateway.ended == [("protocol_error", True)]


async def test_what_stands_behind_a_broken_packet_is_not_carried_out(running: Running) -> None:
    """A payload is taken up to its first fault."""
    sid = await open_polling(running)
    async with aiohttp.ClientSession() as session:
        answer = await session.post(polling_url(running, sid), data='42["a"]\x1e42{}\x1e42["b"]')
        assert answer.status == 400
    assert running.gateway.received_events == [("a", [])]


async def test_overlapping_posts_close_the_connection(running: Running) -> None:
    """Their packets would have no order."""
    sid = await open_polling(running)
    head = (
        f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(head.encode())
    await writer.drain()
    async with aiohttp.ClientSession() as session:
        statuses = []
        while 400 not in statuses:  # the first POST may arrive after some of these
            answer = await session.post(polling_url(running, sid), data="3")
            statuses.append(answer.status)
    assert running.gateway.ended == [("protocol_error", True)]
    writer.write(b'42["late"]')
    assert (await reader.read(1000)).startswith(b"HTTP/1.1 400")
    writer.close()
    await writer.wait_closed()
    assert running.gateway.received_events == []


async def test_a_stranger_cannot_take_over_a_websocket(running: Running) -> None:
    """Polls, posts and websockets that name a websocket's sid are refused, and it goes on."""
    async with aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(url) as socket:
            sid = re.findall(r'"sid":"([^"]+)"', await socket.receive_str())[0]
            await socket.send_str("40")
            await socket.receive_str()
            assert (await session.get(polling_url(running, sid))).status == 400
            assert (await session.post(polling_url(running, sid), data="41")).status == 400
            async with session.ws_connect(f"{url}&sid={sid}") as other:
                assert await read_until_closed(other) == []
            await socket.send_str('421["still"]')
            assert await socket.receive_str() == "431[]"


@pytest.mark.parametrize("step", ["abc", "2", "5", '42["message"]'])
async def test_a_broken_upgrade_leaves_polling_as_it_was(running: Running, step: str) -> None:
    """The websocket is closed; the connection that it wanted to take over polls on."""
    sid = await open_polling(running)
    async with aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=websocket&sid={sid}"
        async with session.ws_connect(url) as socket:
            await socket.send_str(step)
            assert await read_until_closed(socket) == []
        assert (await session.post(polling_url(running, sid), data='421["still"]')).status == 200
        assert await (await session.get(polling_url(running, sid))).text() == "431[]"


async def test_connections_are_bounded() -> None:
    """A further one is answered 503; when one goes there is room again."""
    async with serve(limits=Limits(connections=2)) as running:
        async with websocket(running), websocket(running):
            async with aiohttp.ClientSession() as session:
                assert (await session.get(polling_url(running))).status == 503
                with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                    await session.ws_connect(f"{running.url}/socket.io/?EIO=4&transport=websocket")
            assert running.count("bridged_refused_total", reason="too_many_connections") == 2
        await running.gateway.until(lambda: len(running.gateway.ended) == 2)
        assert await open_polling(running)


async def test_an_outbox_of_a_client_that_does_not_poll_is_bounded() -> None:
    """A polling client that fetches nothing is cut at the bound."""
    async with serve(limits=Limits(outbox_bytes=Size("100kB"))) as running:
        sid = await open_polling(running)
        for _ in range(30):
            running.send("blob", "x" * 10_000)
        await running.gateway.until(lambda: running.gateway.ended == [("slow_client", True)])
        async with aiohttp.ClientSession() as session:
            assert (await session.get(polling_url(running, sid))).status == 400


async def test_ids_are_never_logged(running: Running) -> None:
    """Whoever knows a polling connection's sid can act for it."""
    with capture_logs() as logs:
        sid = await open_polling(running)
        async with aiohttp.ClientSession() as session:
            await session.post(polling_url(running, sid), data="garbage")
    assert logs
    assert sid not in str(logs)
    assert "garbage" not in str(logs)
