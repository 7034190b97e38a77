"""Hostile HTTP, one attack per test: bad requests, foreign pages, posts, upgrades, bounds."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest
from structlog.testing import capture_logs

from bridge.config.model import Http, Limits
from bridge.config.units import Duration, Size
from tests.support.echo_gateway import Running, serve
from tests.support.hostile import open_polling, polling_url, read_until_closed, send_http, websocket


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server with small bounds and an echo gateway."""
    http = Http(origins="https://page.example")
    async with serve(http, Limits(payload=Size("100kB"), namespaces=4)) as running:
        yield running


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


async def test_a_stranger_sends_little() -> None:
    """Before it is in a namespace, and after it has left the last; a member's body may be a megabyte."""
    async with serve() as running, aiohttp.ClientSession() as session:
        answer = await session.get(polling_url(running))
        sid = (await answer.text()).split('"')[3]
        assert (await session.post(polling_url(running, sid), data="4" * 200_000)).status == 413
        sid = await open_polling(running)
        large = f'42["message","{"x" * 900_000}"]'
        assert (await session.post(polling_url(running, sid), data=large)).status == 200
        assert (await session.post(polling_url(running, sid), data="41")).status == 200
        assert (await session.post(polling_url(running, sid), data=large)).status == 413


async def test_tokens_for_all_namespaces_come_in_one_body() -> None:
    """The official client sends the CONNECT packets of a page together; each has a token of 8 KB at most."""
    connects = [f'40/n{number},{{"token":"{"x" * 8192}"}}' for number in range(16)]
    async with serve() as running, aiohttp.ClientSession() as session:
        answer = await session.get(polling_url(running))
        sid = (await answer.text()).split('"')[3]
        answer = await session.post(polling_url(running, sid), data="\x1e".join(connects))
        assert answer.status == 200
        await running.gateway.until(lambda: len(running.gateway.requests) == 16)


async def test_a_post_ends_with_its_connection() -> None:
    """What has come of it is not kept until the rest is due."""
    async with serve(Http(connect_timeout=Duration("200ms"))) as running:
        async with aiohttp.ClientSession() as session:
            sid = (await (await session.get(polling_url(running))).text()).split('"')[3]
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n"
        writer.write(f"{head}Content-Length: 60000\r\n\r\n".encode() + b"4" * 59_999)
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 400")
        assert running.count("bridged_closed_total", reason="connect_timeout") == 1
        writer.close()


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


async def test_a_header_lifts_no_bound(running: Running) -> None:
    """A poll that says `Upgrade: websocket` and means nothing by it: what is sent behind it piled up."""
    sid = await open_polling(running)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(
        f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n"
        "Upgrade: websocket\r\n\r\n".encode()
    )
    headers = "".join(f"X-{number}: {'y' * 8000}\r\n" for number in range(100))
    with suppress(ConnectionError):
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode() * 5)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
    writer.close()
    await running.gateway.until(lambda: running.gateway.ended == [("transport_close", True)])


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
